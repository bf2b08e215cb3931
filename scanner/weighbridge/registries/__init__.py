"""Registries: references to artifacts. One module per kind of registry, found by the scheme of the reference.

A module is imported when a reference names its scheme: scanning a local file must not pay for a network client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from weighbridge.errors import UsageError
from weighbridge.location import printable

if TYPE_CHECKING:
    from weighbridge.registries.base import Registry, Settings

    Make = Callable[[Settings], Registry]


def _hub() -> Make:
    from weighbridge.registries.hub import Hub

    return Hub


def _oci() -> Make:
    from weighbridge.registries.oci.registry import OciRegistry

    return OciRegistry


def _local() -> Make:
    from weighbridge.registries.local import Local

    return Local


def _mlflow() -> Make:
    from weighbridge.registries.mlflow import MLflow

    return MLflow


def _objects() -> Make:
    from weighbridge.registries.objects import Objects

    return Objects


def _web() -> Make:
    from weighbridge.registries.web import Web

    return Web


SCHEMES: Final[dict[str, Callable[[], Make]]] = {
    "az": _objects,
    "file": _local,
    "gs": _objects,
    "hf": _hub,
    "http": _web,
    "https": _web,
    "mlflow": _mlflow,
    "mlflow+http": _mlflow,
    "mlflow+https": _mlflow,
    "oci": _oci,
    "oci+http": _oci,
    "s3": _objects,
}


def is_reference(text: str) -> bool:
    """Tell whether `text` names a model in a registry rather than a path."""
    return _scheme(text) in SCHEMES


def registry(reference: str, settings: Settings) -> Registry:
    """Return the registry that a reference belongs to; `is_reference` must hold."""
    return SCHEMES[_scheme(reference)]()(settings)


def known_as(reference: str) -> str:
    """Return the name by which policies know what a reference or a path means, as far as the text alone tells.

    It has no revision, and a path no link in it. Raises UsageError when no registry has such references, or a revision
    cannot be told from the name.
    """
    scheme = _scheme(reference)
    if scheme and scheme not in SCHEMES:
        raise UsageError(f"{printable(reference)}: no registry has such references; docs/registries.md lists them")
    match scheme:
        case "hf":
            from weighbridge.registries import hub_reference

            return hub_reference.parse(reference).canonical
        case "oci" | "oci+http":
            from weighbridge.registries.oci import reference as oci

            return oci.parse(reference).canonical
        case "file":
            from weighbridge.registries import local

            return local.canonical(reference)
        case "":
            from pathlib import Path

            return known_as(Path(reference).absolute().as_uri())
    if "@" in reference.partition("://")[2].partition("/")[2]:
        raise UsageError(f"{printable(reference)}: name it without its revision, as policies do")
    return reference


def _scheme(text: str) -> str:
    """Return the scheme that a text belongs to; the address of a page of the Hub is a reference to what it shows."""
    scheme, mark, _ = text.partition("://")
    scheme = scheme.lower() if mark else ""
    if scheme in ("http", "https"):
        from weighbridge.registries.hub_reference import is_page

        return "hf" if is_page(text) else scheme
    return scheme
