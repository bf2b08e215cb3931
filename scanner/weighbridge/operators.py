"""Operators of graphs: which names the public domains define, and since when.

The table is data: `rules/onnx/operators.json`, written by `tools/operators.py` from the schemas of ONNX, ONNX Runtime
and its extensions. It says that a name is known, and so what it does is public: a tensor computation. An operator that
exists and runs other code or opens files is withheld; rules name it. Nothing depends on what is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from weighbridge.errors import DocumentError

TABLE: Final = "onnx/operators.json"  # below the folder of rules
DEFAULT_DOMAIN: Final = "ai.onnx"  # written as nothing in most models


class Standing(StrEnum):
    """What the table says of an operator; the text is the subject that a rule about all of the kind matches."""

    KNOWN = "<known-operator>"
    EARLY = "<early-operator>"
    """Known, but newer than the operator set that the model imports: no runtime that keeps to it has it."""
    WITHHELD = "<withheld-operator>"
    UNKNOWN_OPERATOR = "<unknown-operator>"
    """Not of its domain, which is known: nobody can say what runs it."""
    UNKNOWN_DOMAIN = "<unknown-domain>"
    """Of a domain that is not in the table: what runs it is native code that is not in the file."""

    @property
    def reason(self) -> str:
        """Why it keeps a verdict from pass; empty when it does not."""
        return _REASONS.get(self, "")


_REASONS: Final = {
    Standing.WITHHELD: "it does more than compute, and no rule speaks for it",
    Standing.UNKNOWN_OPERATOR: "its domain has no operator of this name",
    Standing.UNKNOWN_DOMAIN: "its domain is not a public one: the code that runs it is not in the file",
}


class Operators:
    """The table: domain, operator, the versions of the domain in which it came or changed."""

    def __init__(
        self, domains: Mapping[str, Mapping[str, list[int]]], withheld: Mapping[str, list[str]] | None = None
    ) -> None:
        self._domains = domains
        self._withheld = withheld or {}

    def standing(self, domain: str, name: str, version: int) -> Standing:
        """Return what is known of an operator of `domain` when a model imports `version` of it (0: none)."""
        domain = domain or DEFAULT_DOMAIN
        if name in self._withheld.get(domain, ()):
            return Standing.WITHHELD
        names = self._domains.get(domain)
        if names is None:
            return Standing.UNKNOWN_OPERATOR if domain in self._withheld else Standing.UNKNOWN_DOMAIN
        since = names.get(name)
        if since is None:
            return Standing.UNKNOWN_OPERATOR
        return Standing.EARLY if 0 < version < since[0] else Standing.KNOWN

    def names(self) -> set[str]:
        """Return every name that is known, as `domain::Name`."""
        return {f"{domain}::{name}" for domain, names in self._domains.items() for name in names}


def read(data: bytes, name: str) -> Operators:
    """Return the table in a file; raise DocumentError when it is none."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DocumentError(name, f"not JSON: {error}") from error
    match document:
        case {"domains": dict(domains), "withheld": dict(withheld)} if all(map(_is_domain, domains.values())) and all(
            map(_is_names, withheld.values())
        ):
            return Operators(domains, withheld)
    raise DocumentError(name, "not a table of operators: domain, operator, versions")


def _is_domain(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_versions, value.values()))


def _is_versions(value: Any) -> bool:
    if not isinstance(value, list) or not value or not all(type(one) is int and one > 0 for one in value):
        return False
    return value == sorted(set(value))


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
