"""Prose: a licence, a notice, a version number — text that no loader of models executes.

Text is code to somebody: YAML names classes, a template runs in a sandbox that leaks, any lines can be Python, a
requirements file installs packages, and a pickle of protocol 0 is all letters. So this is a narrow gate, not a guess:
only letters, digits and the punctuation of sentences pass, and nothing that calls, imports, assigns or keys. What
does not get through is no known format, hence a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact, Inert, Pointer
from weighbridge.formats import pickle, pointer, requirement
from weighbridge.formats.base import Context, Format
from weighbridge.formats.source import is_no_python
from weighbridge.reader import TAIL, Reader, Sample

_WORD_LIMIT: Final = 256  # of a text that is one word, such as a version or an identifier
# A digest is none, and what begins with a number or a capital is a version or the name of a licence.
_PACKAGE: Final = rb"(?![0-9a-f]{32,}\Z|v[0-9][0-9.]*\Z)[a-z][\w.+-]*"
_TOKEN_LIMIT: Final = 200  # no word of a sentence is longer, most addresses are not
_STARTS: Final = frozenset(b"{[<-@!%&*|>#\0\x80\x1f\x93")  # of documents, scripts and binary formats
_WORD: Final = r"[A-Za-z0-9._+-]+\s*"
_PUNCTUATION: Final = frozenset(" \t\r\n\f.,;:!?'\"()[]/&+*#%-_@©®™“”\u2018\u2019…•·§\u2013\u2014")
# What licences and notes have besides, where no compiler of Python takes the text: it is neither template nor command.
_SIGNS: Final = frozenset("<>={}$|~^\\")
_REACHES: Final = re.compile(r"\{[{%#]|\$[({]|\|[ \t]*\w*sh\b|<[?%]|<script", re.IGNORECASE)
# STACK_GLOBAL and EXT1, 2 and 4: as the second half of a character they would still be opcodes to a pickle machine.
_OPCODES: Final = (b"\x93", b"\x82", b"\x83", b"\x84")
# Compiled when a text comes by, for it takes 1 ms.
# Every alternative is anchored or bounded: the time is linear in the text.
_CALLS: Final = "|".join(
    (
        r"(?<=[\w.])\((?!s\))",  # a call; the `Contribution(s)` of licences is none
        r"(?<![A-Za-z])[A-Za-z]{1,4}\(|(?<=[_.0-9])\(|\.[A-Za-z]{1,50}\(",
        r"[\])]\s*\(",  # a call of what an expression yields; a string cannot be called
    )
)
# What else stands right before brackets in a licence: clauses, the sign of copyright, plurals.
_CLAUSE: Final = r"(?<=\w)\((?:[a-z]{1,3}|[ivx]{1,5}|[0-9]{1,2}|C|TM|R)\)"
_NOT_PROSE: Final = "|".join(
    (
        r"__|\b(?:exec|eval|getattr|setattr|delattr|globals|locals|vars|breakpoint|builtins)\b",
        r"\b(?:open|compile|input|print|type|map|filter|iter|next|super|sorted|min|max|any|all)\s*\(",
        r"^[ \t]*(?:for|while|with|if|elif|else|try|except|def|class|async|lambda|match|case)\b.*:",
        r"(?:^|[;:])[ \t\f]*import\s+\w|\bfrom\s+[\w.]+\s+import\b|\bfrom\s*\.[\s.]*(?:\w[\w.]*\s*)?import\b",
        r"\A[^\n]*:(?:[ \t\r\n]|\Z)",  # the first line of a YAML mapping or of a mail
        r"^[ \t]*(?:-[ \t]+)*[\"']?[a-z_][\w./-]*[\"']?[ \t]*:[ \t]+\S",  # a key among prose
        r"(?:^|[\t,;])[ ]*=[\w(@+-]",  # a formula of a spreadsheet
        r"^[ \t]*[A-Za-z0-9][\w.,\[\]-]*[ \t]*@[ \t]*(?:[A-Za-z+]+:|\.{0,2}/)",  # a package and its place
        r"^[ \t]*(?:sudo[ \t]+\w|(?:curl|wget)[ \t]+(?:-|\w+[./:])|rm[ \t]+-|chmod[ \t]+[-+0-7]|source[ \t]+\S+\.sh\b)",
        r"^[ \t]*[\[\]@]|^[ \t]*-{1,2}\w|^---(?:[ \t\r]|$)|^[ \t]*#!|coding[ \t]*:",
    )
)
_SENTENCE: Final = r"^[ \t]*[A-Za-z]+(?:,? [A-Za-z]+){4}\b"  # five words that no list of packages has on a line
_NAME: Final = re.compile(r"[^\W\d][\w.]*")
_PLACES: Final = ("+http", "+ssh", "file:", ".whl", ".zip", ".gz", ".py", ".sh", ".exe")


def sniff(sample: Sample) -> bool:
    """Tell whether all of the bytes, which must fit the sample, are prose or a single word."""
    head = sample.head
    if not head or head[0] in _STARTS or sample.size > TAIL or b"\0" in head:
        return False
    data = head if sample.size <= len(head) else sample.tail
    return _is_prose(data) and not pickle.sniff(sample) and not pointer.sniff_lfs(sample)


def _is_prose(data: bytes) -> bool:
    if any(opcode in data for opcode in _OPCODES):
        return False
    try:
        text = data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")  # where Python ends a line
    except UnicodeDecodeError:
        return False
    if len(text.split(None, 1)) < 2:
        return len(text) <= _WORD_LIMIT and re.fullmatch(_WORD, text) is not None
    others = {character for character in set(text) if not (character.isalnum() or character in _PUNCTUATION)}
    if others and not (others <= _SIGNS and not _REACHES.search(text) and is_no_python(text)):
        return False
    stripped = text.strip()
    if re.search(_CALLS, stripped) and (re.search(_CALLS, re.sub(_CLAUSE, "", stripped)) or not is_no_python(text)):
        return False
    return re.search(_NOT_PROSE, stripped, re.MULTILINE) is None and _are_sentences(text)


def _are_sentences(text: str) -> bool:
    """Refuse lines of one word that could be names to import, packages to install or files to fetch.

    No installer takes a list that has a sentence in it, and none installs anything before it has read it all.
    """
    before: list[str] = []
    listed = re.search(_SENTENCE, text, re.MULTILINE) is None
    for line in text.split("\n"):
        words = line.split()
        if any(len(word) > _TOKEN_LIMIT for word in words):
            return False
        if len(words) == 1 and (_is_global(words[0], before) or (listed and _is_name_or_place(words[0], before))):
            return False
        before = words
    return True


def _is_name_or_place(word: str, before: list[str]) -> bool:
    """Tell what a word alone on its line could be, behind a line of the words `before`."""
    if any(place in word for place in _PLACES):
        return True
    if before[2:] or word.startswith(("http://", "https://")):
        return False
    return word[-1] == ":" or (word[0].islower() and word[-1] not in ".,;!?")


def _is_global(word: str, before: list[str]) -> bool:
    """Tell whether a word alone on its line could be the name behind the module that the line before ends in."""
    return bool(before) and _NAME.fullmatch(word) is not None and _ends_in_global(before[-1])


def _ends_in_global(word: str) -> bool:
    """Tell whether a pickle machine could take the end of a line as GLOBAL and a module's name."""
    return any(letter == "c" and _NAME.fullmatch(word, index + 1) is not None for index, letter in enumerate(word))


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield the text as inert, and a word in small letters as the package that it is to an installer."""
    words = bytes(reader.view).split(None, 1)
    if len(words) == 1 and re.fullmatch(_PACKAGE, words[0]) is not None:
        target = requirement.target(words[0].decode("ascii"))
        yield Pointer(location=reader.origin, type="requirement", key="text", target=target)
    from weighbridge.formats.yaml.parse import aside

    yield from aside(bytes(reader.view).decode("utf-8"), reader, context)
    yield Inert(location=reader.origin, size=reader.size, reason="plain text that no loader executes")


FORMAT: Final = Format("text", "plain text", sniff, parse, textual=True)
