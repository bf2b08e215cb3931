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
from weighbridge.formats.yaml.parse import aside
from weighbridge.reader import TAIL, Reader, Sample

LIMIT: Final = 64 << 20  # bytes; the largest vocabularies have 15 MB
LINE: Final = 4096  # bytes of a line; tokens and rows of tables have a few hundred
_COMMENT: Final = re.compile(rb"[ \t]*(?:#[^\n]*)?\r?")
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
# No cell is a formula, which begins with one of four signs, and none has what a shell runs inside quotation marks.
_FORMULA: Final = rb"(?!\"?[ ]*(?:[=@]|[-+](?![0-9.,;\t \"]|[iI][nN][fF]|[nN][aA][nN]|$)))"
_QUOTED: Final = rb'"(?:[^"`|\\\x00-\x1f$]|""|\$(?![({]))*"'
_BARE: Final = rb'[^"`|\\\x00-\x1f$%s]?(?:[^"`|\\\x00-\x1f$%s]|\$(?![({]))*'


def _row(separator: bytes) -> re.Pattern[bytes]:
    cell = rb"%s(?:%s|%s)" % (_FORMULA, _QUOTED, _BARE % (separator, separator))
    return re.compile(rb"%s(?:%s%s)+" % (cell, separator, cell))


_SEPARATORS: Final = (b",", b"\t", b";")
_ROWS: Final = tuple(map(_row, _SEPARATORS))
# Patterns of paths: no quotation mark, no bracket but that of a class, nothing that assigns or calls.
_IGNORED: Final = re.compile(rb"!?(?:[\w./*?~%+,-]|\[[\w^!.-]+\]|\\[ .#!$~-]|\$)+[ \t]*")
# Comments that are more: directives of the C preprocessor, another encoding, what an editor obeys.
_OBEYED: Final = re.compile(
    rb"(?m)^[ \t]*#[ \t]*(?:include|define|undef|if|ifdef|ifndef|elif|else|endif|pragma|error|line|import|embed)\b"
    rb"|coding[ \t]*[:=]|\b(?:vim?|ex):|-\*-|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]"
)
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


def sniff_comments(sample: Sample) -> bool:
    """Tell whether all of the bytes are blank lines and comments that no compiler, shell or editor obeys."""
    if not 0 < sample.size <= TAIL or pickle.sniff(sample) or text.sniff(sample):
        return False
    data = sample.tail
    if any(_COMMENT.fullmatch(line) is None for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")):
        return False
    return re.match(rb"(?:\xef\xbb\xbf)?#!", data) is None and _OBEYED.search(data) is None


def sniff_ignored(sample: Sample) -> bool:
    """Tell whether the first lines are patterns of paths, one of them with a star, as no list of packages has."""
    lines = _first(sample.head, 40)
    if not any(b"*" in line for line in lines) or not all(_IGNORED.fullmatch(line) for line in lines):
        return False
    return not any(_SPECIAL.fullmatch(line) for line in lines) and not sniff_ranks(sample) and not _is_other(sample)


def sniff_table(sample: Sample) -> bool:
    """Tell whether the first lines have the same number of cells, and look more like cells than like words."""
    lines = _first(sample.head, 8)
    if len(lines) < 2 or lines[0][:1] in b"<[{":
        return False
    for row, separator in zip(_ROWS, _SEPARATORS, strict=True):
        counts = {_cells(line, separator) if row.fullmatch(line) else 0 for line in lines}
        if len(counts) == 1 and 0 not in counts:
            return _is_table(lines, separator) and not sniff_requirements(sample) and not _is_other(sample)
    return False


def _cells(line: bytes, separator: bytes) -> int:
    """Return how many cells a row has, those in quotation marks taken whole."""
    return (re.sub(rb'"[^"]*"', b"", line) if b'"' in line else line).count(separator) + 1


def _is_table(lines: list[bytes], separator: bytes) -> bool:
    """Tell whether rows have more than two cells, or cells that are numbers or in quotation marks for the most."""
    cells = [cell.strip() for cell in lines[1].split(separator)]
    shown = sum(bool(_NUMBER.fullmatch(cell)) or cell.startswith(b'"') for cell in cells)
    return shown * 2 >= len(cells) or len(cells) > 2


def _beside(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what the text does when somebody renders it, or reads it as YAML, once it has been read to its end."""
    source = bytes(reader.view).decode("utf-8")
    yield from beside(source, reader.origin)
    yield from aside(source, reader, context)


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
    yield from _beside(reader, context)


def parse_requirements(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield every package and every option."""
    for offset, line in _read(reader, _ANY):
        target = requirement.target(line.decode())[:200]
        yield Pointer(location=reader.at(offset), type="requirement", key="requirements", target=target)
    yield from _beside(reader, context)


def _plain(form: re.Pattern[bytes], *, comments: bool = False) -> Callable[[Reader, Context], Iterator[Fact]]:
    """Return a parser that understands every line and says nothing of it."""

    def parse(reader: Reader, context: Context) -> Iterator[Fact]:
        for offset, _ in _read(reader, form, comments=comments):
            if offset & 0xFFFF == 0:
                context.budget.check_time(reader.origin)
        yield from _beside(reader, context)

    return parse


def parse_table(reader: Reader, context: Context) -> Iterator[Fact]:
    """Understand every row of a table, and say nothing of it; raise ArtifactError at one with more or fewer cells."""
    first = _first(reader.sample.head, 8)
    count, index = max((_cells(first[1], one), -index) for index, one in enumerate(_SEPARATORS) if _fits(first, index))
    separator = _SEPARATORS[-index]
    for offset, line in _read(reader, _ROWS[-index]):
        if offset & 0xFFFF == 0:
            context.budget.check_time(reader.origin)
        if _cells(line, separator) != count:
            raise ArtifactError(reader.at(offset), "a row with another number of cells")
    yield from _beside(reader, context)


def _fits(lines: list[bytes], index: int) -> bool:
    return all(_ROWS[index].fullmatch(line) for line in lines)


Sniff = Callable[[Sample], bool]
Parse = Callable[[Reader, Context], Iterator[Fact]]
FORMS: Final[dict[str, tuple[Sniff, Parse]]] = {
    "attributes": (sniff_attributes, parse_attributes),
    "requirements": (sniff_requirements, parse_requirements),
    "tokens": (sniff_tokens, _plain(_TOKEN)),
    "merges": (sniff_merges, _plain(_MERGE)),
    "comments": (sniff_comments, _plain(_COMMENT)),
    "ignored": (sniff_ignored, _plain(_IGNORED, comments=True)),
    "ranks": (sniff_ranks, _plain(_RANK)),
    "table": (sniff_table, parse_table),
}
