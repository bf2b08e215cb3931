"""The strict reading of a document by the standard library's parser, and the facts of what is in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact, Gap, Pointer
from weighbridge.formats import requirement
from weighbridge.formats.base import Context
from weighbridge.formats.jinja.steps import beside
from weighbridge.formats.json import settings
from weighbridge.formats.source import can_call
from weighbridge.formats.yaml.parse import decode
from weighbridge.reader import Reader

LIMIT: Final = 4 << 20  # bytes; the largest locks of projects have two
MAX_PARTS: Final = 64  # of a dotted key: reading one takes the square of its parts
# Such a key, wherever it stands: behind a string, or in one, for what is a string can be told by parsing alone.
_PARTS: Final = re.compile(
    rb"(?:\A|(?<=[\s{,\[]))(?:(?:[\w-]++|\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+){%d}" % MAX_PARTS
)
# An assignment of a shell whose value runs something when the shell reads it, which TOML takes for text.
_SHELL: Final = re.compile(r"^[ \t]*(?:export[ \t]+)?[A-Za-z_]\w*=[^\n]*(?:\$\(|`)", re.MULTILINE)


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield pointers, templates and programs of a document, and of how a project is built.

    Raises ArtifactError when it is not TOML, LimitError when it is too large or nested too deep.
    """
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of TOML, limit is {LIMIT}")
    data = bytes(reader.view)
    source = decode(reader, data)
    tree = _read(reader, data, source)
    yield from _build(tree, reader, data)
    yield from settings.observe(tree, reader, data, context)
    yield from beside(source, reader.origin)
    if can_call(source) or _SHELL.search(source):
        yield Gap(location=reader.origin, reason="toml: the text could be a program", size=reader.size)


def _read(reader: Reader, data: bytes, source: str) -> dict[str, Any]:
    if found := _PARTS.search(data):
        raise LimitError(reader.at(found.start()), f"a key of more than {MAX_PARTS} parts")
    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ArtifactError(reader.origin, f"not TOML: {error}") from error
    except (RecursionError, ValueError) as error:  # a date that is none, a number that is too long
        raise ArtifactError(reader.origin, "not TOML that can be read: too deep, or a value of no size") from error


def _build(tree: dict[str, Any], reader: Reader, data: bytes) -> Iterator[Fact]:
    """Yield what an installer imports and installs before it builds a project (PEP 517, PEP 518)."""
    system = tree.get("build-system")
    if not isinstance(system, dict):
        return
    where = settings.place(reader, data, "build-system")
    for key in ("build-backend", "backend-path"):
        value = system.get(key)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield Pointer(location=where, type=key, key=f"build-system.{key}", target=one[: settings.SHOWN])
    required = system.get("requires")
    for one in required if isinstance(required, list) else []:
        if isinstance(one, str):
            target = requirement.target(one)[: settings.SHOWN]
            yield Pointer(location=where, type="requirement", key="build-system.requires", target=target)
