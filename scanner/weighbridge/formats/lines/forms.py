"""How each text of lines begins, and how it is read to the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from weighbridge.errors import ArtifactError, LimitError
from weighbridge.facts import Fact, Pointer
from weighbridge.formats import document, pickle, pointer, requirement, script, text, yaml
from weighbridge.formats.base import Context
from weighbridge.formats.jinja.steps import beside
from weighbridge.formats.source import can_call
from weighbridge.reader import Reader, Sample

LIMIT: Final = 64 << 20  # bytes; the largest vocabularies have 15 MB
LINE: Final = 4096  # bytes of a line; tokens and rows of tables have a few hundred
_COMMENT: Final = rb"[ \t]*(?:#[^\n]*)?"
_ATTRIBUTE: Final = rb"[-!]?(?:text|binary|eol|filter|diff|merge|working-tree-encoding|linguist-[\w-]+|export-ignore)"
_ATTRIBUTES: Final = re.compile(rb"\"?[^\s\"#][^\s\"]*\"?(?:[ \t]+%s(?:=[\w-]+)?)+[ \t]*" % _ATTRIBUTE)
_DRIVER: Final = re.compile(rb"[ \t](?:filter|diff|merge)=([\w-]+)")
_ANY: Final = re.compile(rb".{1,%d}" % LINE)  # a requirement that is of no form is named as it is
_SPECIAL: Final = re.compile(
    rb"\[(?:PAD|UNK|CLS|SEP|MASK|BOS|EOS)\]|<(?:s|/s|unk|pad|mask|blank|bos|eos)>|<\|[\w-]+\|>", re.IGNORECASE
)
_TOKEN: Final = re.compile(rb"\S{1,%d}" % LINE)
_MERGE: Final = re.compile(rb"#version: ?[\w.-]+(?: - .*)?|[^ \n]{1,%d} [^ \n]{1,%d}" % (LINE, LINE))
_RANK: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)? ([0-9]{1,9})")
_BYTES: Final = 16  # lines to look at of ranks, which begin with the 256 bytes
_CELL: Final = rb"[^()\[\]{}=`@$;'\"\\,\t\n]*"
_ROWS: Final = (re.compile(rb"%s(?:,%s)+" % (_CELL, _CELL)), re.compile(rb"%s(?:\t%s)+" % (_CELL, _CELL)))
_NUMBER: Final = re.compile(rb"[-+]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|nan|inf|)", re.IGNORECASE)


def _first(head: bytes, count: int) -> list[bytes]:
    """Return the first lines that say something; the last of the sample may be cut and is left out if it can."""
    lines = head.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    whole = lines[:-1] if len(lines) > 1 else lines
    return [line for line in whole if not re.fullmatch(_COMMENT, line)][:count]


def _is_other(sample: Sample) -> bool:
    """Tell whether the bytes are known as something else by how they begin."""
    known = (text.sniff, script.sniff, script.sniff_python, pointer.sniff_lfs, pickle.sniff, document.sniff, yaml.sniff)
    return b"\0" in sample.head or any(sniff(sample) for sniff in known)


def _all(head: bytes, form: re.Pattern[bytes], count: int = 8) -> bool:
    lines = _first(head, count)
    return bool(lines) and all(form.fullmatch(line) for line in lines)


def sniff_attributes(sample: Sample) -> bool:
    """Tell whether the first lines give attributes of git to patterns of paths."""
    return _all(sample.head, _ATTRIBUTES) and not _is_other(sample)


def sniff_requirements(sample: Sample) -> bool:
    """Tell whether the first lines name packages, one of them with a version or from elsewhere."""
    lines = [line.decode("utf-8", "replace") for line in _first(sample.head, 40)]
    if not any(re.fullmatch(requirement.PINNED, line) or re.match(requirement.OPTION, line) for line in lines):
        return False
    listed = all(re.fullmatch(requirement.LISTED, line) or re.fullmatch(requirement.ELSEWHERE, line) for line in lines)
    return listed and not sniff_ranks(sample) and not _is_other(sample)


def sniff_tokens(sample: Sample) -> bool:
    """Tell whether every line is one token, and one of the first is a special one."""
    lines = [line for line in sample.head.replace(b"\r\n", b"\n").split(b"\n")[:-1] if line]
    if len(lines) < 2 or not any(_SPECIAL.fullmatch(line) for line in lines[:20]):
        return False
    return all(_TOKEN.fullmatch(line) for line in lines[:40]) and not _is_other(sample)


def sniff_merges(sample: Sample) -> bool:
    """Tell whether the bytes begin with the version that merges begin with."""
    return sample.head.startswith(b"#version:") and _all(sample.head, _MERGE) and not script.sniff_python(sample)


def sniff_ranks(sample: Sample) -> bool:
    """Tell whether the first lines are tokens in base64 with ranks that count up."""
    lines = [_RANK.fullmatch(line) for line in _first(sample.head, _BYTES)]
    ranks = [int(line[1]) for line in lines if line is not None]
    return len(ranks) == _BYTES and ranks == list(range(ranks[0], ranks[0] + _BYTES)) and not _is_other(sample)


def sniff_table(sample: Sample) -> bool:
    """Tell whether the first lines have the same number of cells, and those of the second are numbers for the most."""
    lines = _first(sample.head, 8)
    if len(lines) < 2:
        return False
    for row, comma in zip(_ROWS, (b",", b"\t"), strict=True):
        if all(row.fullmatch(line) and line.count(comma) == lines[0].count(comma) for line in lines):
            numbers = [bool(_NUMBER.fullmatch(cell.strip())) for cell in lines[1].split(comma)]
            return sum(numbers) * 2 >= len(numbers) and not _is_other(sample)
    return False


def _template(reader: Reader) -> Iterator[Fact]:
    """Yield what the text does when somebody renders it, once it has been read to its end."""
    yield from beside(bytes(reader.view).decode("utf-8"), reader.origin)


def _read(reader: Reader, *forms: re.Pattern[bytes], comments: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield every line that says something, with its offset.

    Raises LimitError when there is too much, ArtifactError at a line that has none of the forms, and when a compiler
    of Python might take all of it for a program that calls something.
    """
    if reader.size > LIMIT:
        raise LimitError(reader.origin, f"{reader.size} bytes of lines, limit is {LIMIT}")
    data = bytes(reader.view)
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(reader.at(error.start), "not UTF-8") from error
    offset = 3 if source.startswith("\ufeff") else 0
    for whole in data[offset:].split(b"\n"):
        line = whole.removesuffix(b"\r")
        if line.strip() and not (comments and re.fullmatch(_COMMENT, line)):
            if not any(form.fullmatch(line) for form in forms):
                raise ArtifactError(reader.at(offset), "a line of another form")
            yield offset, line
        offset += len(whole) + 1
    if can_call(source):
        raise ArtifactError(reader.origin, "the text could be a program of Python")


def parse_attributes(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every driver that an attribute names: git runs the command that its configuration gives it."""
    seen: set[bytes] = set()
    for offset, line in _read(reader, _ATTRIBUTES):
        for name in _DRIVER.findall(line):
            if name not in seen:
                seen.add(name)
                yield Pointer(location=reader.at(offset), type="driver", key="attributes", target=name.decode())
    yield from _template(reader)


def parse_requirements(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every package and every option."""
    for offset, line in _read(reader, _ANY):
        target = requirement.target(line.decode())[:200]
        yield Pointer(location=reader.at(offset), type="requirement", key="requirements", target=target)
    yield from _template(reader)


def _plain(form: re.Pattern[bytes], *, comments: bool = False) -> Callable[[Reader, Context], Iterator[Fact]]:
    """Return a parser that understands every line and says nothing of it."""

    def parse(reader: Reader, context: Context) -> Iterator[Fact]:
        for offset, _ in _read(reader, form, comments=comments):
            if offset & 0xFFFF == 0:
                context.budget.check_time(reader.origin)
        yield from _template(reader)

    return parse


def parse_table(reader: Reader, context: Context) -> Iterator[Fact]:
    """Understand every row of a table, and say nothing of it."""
    comma = not _ROWS[1].fullmatch(_first(reader.sample.head, 1)[0])
    yield from _plain(_ROWS[0 if comma else 1])(reader, context)


Sniff = Callable[[Sample], bool]
Parse = Callable[[Reader, Context], Iterator[Fact]]
FORMS: Final[dict[str, tuple[Sniff, Parse]]] = {
    "attributes": (sniff_attributes, parse_attributes),
    "requirements": (sniff_requirements, parse_requirements),
    "tokens": (sniff_tokens, _plain(_TOKEN)),
    "merges": (sniff_merges, _plain(_MERGE)),
    "ranks": (sniff_ranks, _plain(_RANK)),
    "table": (sniff_table, parse_table),
}
