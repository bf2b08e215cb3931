"""Placeholders: what git-lfs and DVC leave in a repository instead of the bytes.

A copy that was made without the tool holds these texts where the weights should be. They are recognised by content
and read by the grammar of their writers; DVC's is a small part of YAML, and what goes beyond it is a gap.

Specifications: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md,
https://dvc.org/doc/user-guide/project-structure/dvc-files, https://dvc.org/doc/user-guide/project-structure
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact, Placeholder
from weighbridge.formats.base import Context, Format
from weighbridge.reader import Reader, Sample

LFS_LIMIT: Final = 1024  # bytes; the specification asks readers to take nothing longer for a pointer
DVC_LIMIT: Final = 16 << 20  # bytes; a lock of a pipeline has some hundred for each output
_LFS_VERSIONS: Final = (
    b"version https://git-lfs.github.com/spec/v1\n",
    b"version https://hawser.github.com/spec/v1\n",  # the names that git-lfs had before
    b"version http://git-media.io/v/2\n",
)
# Compiled when a placeholder comes by, for it takes 1 ms.
_EXTENSION: Final = r"(?a)ext-[0-9]-[\w-]+ sha256:[0-9a-f]{64}"
_OID: Final = r"oid (sha256:[0-9a-f]{64})"
_SIZE: Final = r"size (0|[1-9][0-9]{0,18})"

# A file of outputs or the lock of a pipeline; a digest of DVC in the sample tells it from other YAML.
_DVC_HEAD: Final = (
    rb"(?:#[^\n]*\n)*(?:(?:(?:md5|wdir|desc|frozen|always_changed): [^\n]*\n)*(?:outs|deps):\n *- "
    rb"|schema: '?\"?2\.0'?\"?\nstages:\n)"
)
_DVC_DIGEST: Final = rb"(?m)^ *(?:- )?(?:md5: [0-9a-f]{32}|etag: |checksum: |rev_lock: )"
_LINE: Final = r"(?a)(?P<indent> *)(?P<item>- )?(?P<key>[\w./@-]+):(?: (?P<value>\S.*))?"
# A value that is no plain scalar could be a tag, an anchor, an alias, a collection or a block.
_PLAIN: Final = r"[^!&*{}\[\]|>%@`#,?'\"\s-].*|-[^\s].*|'(?:[^']|'')*'|\"[^\"\\]*\""
_ENTRY: Final = rf" *- (?:{_PLAIN})"
_COMMENT: Final = r"[ \t]*(?:#.*)?"
_DIGESTS: Final = ("md5", "etag", "checksum", "version_id")


class _Line(NamedTuple):
    """A key with its value; `column` is that of the key, and `item` tells that a list's entry begins with it."""

    offset: int
    column: int
    item: bool
    key: str
    value: str


def sniff_lfs(sample: Sample) -> bool:
    """Tell whether the bytes open with the line that names the version of git-lfs's specification."""
    return sample.size <= LFS_LIMIT and sample.head.startswith(_LFS_VERSIONS)


def parse_lfs(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the placeholder; raise ArtifactError when it is not `version`, extensions, `oid` and `size`, in this order.

    A reader of git-lfs takes any order and more keys; its writer makes none such.
    """
    try:
        _, *lines, last = reader.take(reader.size, limit=LFS_LIMIT).decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.origin, "the pointer is not ASCII") from error
    while lines and re.fullmatch(_EXTENSION, lines[0]):
        lines.pop(0)
    if len(lines) == 2 and not last:
        oid, size = re.fullmatch(_OID, lines[0]), re.fullmatch(_SIZE, lines[1])
        if oid and size:
            yield Placeholder(location=reader.origin, type="git-lfs", digest=oid[1], size=int(size[1]))
            return
    yield Placeholder(location=reader.origin, type="git-lfs", digest="unknown")
    raise ArtifactError(reader.origin, "the pointer is not as git-lfs writes it")


def sniff_dvc(sample: Sample) -> bool:
    """Tell whether the bytes open like a file of DVC's outputs or its lock, and hold a digest."""
    head = sample.head
    return re.match(_DVC_HEAD, head) is not None and re.search(_DVC_DIGEST, head) is not None


def parse_dvc(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield a placeholder for every output.

    Raises ArtifactError on the first line that is neither a key nor a plain value, LimitError on a file that is too
    long.
    """
    entry: dict[str, str] = {}
    start, column, within = 0, 0, -1
    for line in _lines(reader):
        if entry and (line.column < column or (line.item and line.column == column)):
            yield _output(reader, start, entry)
            entry = {}
        if line.column <= within:
            within = -1
        if line.key == "outs" and not line.value:
            within = line.column
        elif within >= 0 and line.item and not entry:
            start, column, entry = line.offset, line.column, {line.key: line.value}
        elif line.column == column and entry:
            entry[line.key] = line.value
    if entry:
        yield _output(reader, start, entry)


def _lines(reader: Reader) -> Iterator[_Line]:
    """Yield every line that has a key; a plain value may go on below it, and may be an entry of a list."""
    if reader.size > DVC_LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of YAML, limit is {DVC_LIMIT}")
    offset, goes_on = 0, -1
    for raw in reader.take(reader.size).split(b"\n"):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(reader.at(offset), "a line is not UTF-8") from error
        if not re.fullmatch(_COMMENT, text):
            line = _line(offset, text)
            if line is not None:
                yield line
                goes_on = line.column if line.value else -1
            elif not (re.fullmatch(_ENTRY, text) or (goes_on >= 0 and _more(text, goes_on))):
                raise ArtifactError(reader.at(offset), "a line that is neither a key nor a plain value")
        offset += len(raw) + 1


def _line(offset: int, text: str) -> _Line | None:
    found = re.fullmatch(_LINE, text)
    if found is None or not text.isprintable() or (found["value"] and not re.fullmatch(_PLAIN, found["value"])):
        return None
    column = len(found["indent"]) + (2 if found["item"] else 0)
    return _Line(offset, column, bool(found["item"]), found["key"], found["value"] or "")


def _more(text: str, column: int) -> bool:
    """Tell whether a line goes on with the plain value of the key at `column`."""
    return len(text) - len(text.lstrip(" ")) > column and text.isprintable() and ": " not in text


def _output(reader: Reader, start: int, entry: dict[str, str]) -> Placeholder:
    digest = next((f"{name}:{entry[name]}" for name in _DIGESTS if entry.get(name)), "unknown")
    size = int(entry["size"]) if re.fullmatch(r"[0-9]{1,19}", entry.get("size", ""), re.ASCII) else None
    name = entry.get("path", "").strip("'\"")
    return Placeholder(location=reader.at(start), type="dvc", digest=digest, size=size, name=name)


FORMATS: Final = (
    Format("git-lfs", "git-lfs pointer", sniff_lfs, parse_lfs, b"v"),
    Format("dvc", "DVC file of outputs or lock", sniff_dvc, parse_dvc, b"#mwdfaos"),
)
