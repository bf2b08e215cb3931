"""A command line in which the approved folder gives way to its private copy, and what is refused in it."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from weighbridge.approval import Approval
from weighbridge.errors import UsageError
from weighbridge.load.config_gate import digest_of
from weighbridge.location import printable
from weighbridge.refusals import ApprovalMismatch, ConfigRefused
from weighbridge.serve.servers import ENVIRONMENT, REMOVED, SERVERS, Kind, Rule, Server

PLACE: Final = "WEIGHBRIDGE_MODEL"  # where the command finds the private copy, if it likes to ask
_KEPT: Final = frozenset({"PWD", "OLDPWD"})
_BETWEEN: Final = re.compile(r"[^\w./\\~+%-]+")  # characters that paths in lists, URLs and JSON stand between
_FIX: Final = "leave it out, or have it allowed in the approval"


class Option(NamedTuple):
    """An option of the command as it is spelled in full, its value (empty: none), and whether that is in the copy."""

    name: str
    value: str
    inside: bool


class Rewriter:
    """Puts the private copy in the place of the approved folder, wherever a word names it."""

    def __init__(self, folder: Path, approval: Approval, place: Path) -> None:
        self._given = str(folder)
        self._real = os.path.realpath(folder)
        self._told = {self._real, os.path.abspath(folder)}  # noqa: PTH100 - no links followed
        self._inside = self.holds(os.curdir)
        self._place = place
        self._known = {parent for file in approval.files for parent in _parents(file.path)} | {"."}

    def words(self, words: Sequence[str]) -> list[str]:
        """Return the words of a command.

        Raises ApprovalMismatch for a file in the folder that was not approved, UsageError when no word names the
        folder or the variable that does, or one names it in a way that cannot be put right.
        """
        found = [self.word(word) for word in words]
        if not any(str(self._place) in word or PLACE in word for word in found):
            raise UsageError(f"the command does not name {printable(self._given)}: it would load something else")
        return found

    def word(self, word: str) -> str:
        """Return one word; raise as `words` does."""
        if (whole := self._replaced(word)) is not None:
            return whole
        option, equals, value = word.partition("=")
        part = self._replaced(value) if equals else None
        rest = word if part is None else option
        if any(told in rest for told in self._told) or any(map(self._leads, _pieces(rest))):
            raise UsageError(
                f"{printable(word)}: names the approved folder inside of a word, where it cannot be replaced; "
                f"give its path as a word of its own, or ask {PLACE} of the environment"
            )
        return word if part is None else f"{option}={part}"

    def holds(self, path: str) -> bool:
        """Tell whether a path is that of the folder or leads into it."""
        return Path(os.path.realpath(path)).is_relative_to(self._real)

    def _stays(self, path: str) -> bool:
        """Tell whether a path means the same to the command, which runs in the copy when we are in the folder."""
        return not self._inside or os.path.isabs(path)  # noqa: PTH117

    def _leads(self, piece: str) -> bool:
        return self._stays(piece) and self.holds(piece)

    def _replaced(self, text: str) -> str | None:
        """Return the private path of a path in the folder, None for anything else."""
        if not text:
            return None
        relative = os.path.relpath(os.path.realpath(text), self._real).replace(os.sep, "/")
        if relative == ".." or relative.startswith("../") or posixpath.isabs(relative):
            return None
        if relative in self._known:
            return str(self._place) if relative == "." else str(self._place / relative)
        if Path(text).is_absolute() or text.startswith(self._given):
            raise ApprovalMismatch(printable(text), "the approval does not name this file", "approve the folder again")
        return None  # a word such as `serve`, and the folder is the current one

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the command: offline, weights only, and with the copy for the folder."""
        found = {
            name: value if name in _KEPT else self._variable(value)
            for name, value in variables.items()
            if name not in REMOVED
        }
        return {**found, **ENVIRONMENT, PLACE: str(self._place)}

    def _variable(self, value: str) -> str:
        return self._replaced(value) or value if os.sep in value and self._stays(value) else value


def _pieces(word: str) -> Iterator[str]:
    """Yield what could be paths of more than one part inside of a word: behind an option of one letter, in a list."""
    for piece in _BETWEEN.split(word):
        if "/" in piece or os.sep in piece:
            yield piece
            yield piece[2:] if piece.startswith("-") else piece


def _parents(path: str) -> Iterator[str]:
    while path:
        yield path
        path = posixpath.dirname(path)


def check(words: Sequence[str], approval: Approval, place: Path) -> Server | None:
    """Raise ConfigRefused for an option that the approval does not allow; return the server that was recognised."""
    server = _server(words)
    if server is None:
        return None
    options = list(_options(server, words, place))
    allowed = {(one.key, one.digest) for one in approval.allowed if not one.path}
    for option in options:
        rule = server.options[option.name]
        if not _refused(rule, option):
            continue
        value: str | bool = True if rule.kind is Kind.NEVER and not option.value else option.value
        if (option.name, digest_of(value)) not in allowed:
            shown = f" {printable(option.value)}" if option.value and rule.kind is not Kind.NEVER else ""
            raise ConfigRefused(server.name, f"{option.name}{shown}", rule.reason, _FIX)
    _check_required(server, words)
    return server


def _server(words: Sequence[str]) -> Server | None:
    """Return the server that a command starts, behind whatever else starts it (`env`, `numactl`, `python -m`)."""
    for before, word in zip(["", *words], words, strict=False):
        for server in SERVERS:
            module = word if before == "-m" else word.removeprefix("-m") if word.startswith("-m") else ""
            if server.is_command(word) or module.partition(".")[0] in server.modules:
                return server
    return None


def _options(server: Server, words: Sequence[str], place: Path) -> Iterator[Option]:
    """Yield the options that there are rules for, with each of their values."""
    for index, word in enumerate(words):
        if word == server.before_model and words[index + 1 :] and not words[index + 1].startswith("-"):
            yield Option("--model", words[index + 1], _is_in(place, words[index + 1]))
        spelled, equals, value = _split(server, word)
        name = _full(server, spelled)
        if name is None or (spelled == "-m" and _starts(server, [value] if equals else words[index + 1 :])):
            continue
        values = [value] if equals else list(_values(words[index + 1 :]))
        for one in (values if server.options[name].many else values[:1]) or [""]:
            yield Option(name, one, any(_is_in(place, part) for part in (one, one.partition("=")[2])))


def _split(server: Server, word: str) -> tuple[str, str, str]:
    """Return an option, what stands between it and its value, and the value, empty when that is the next word."""
    if server.glues and word[:2] in server.short and len(word) > 2:
        return word[:2], "=", word[2:]
    return word.partition("=")


def _is_in(place: Path, path: str) -> bool:
    return os.path.isabs(path) and Path(os.path.normpath(path)).is_relative_to(place)  # noqa: PTH117


def _starts(server: Server, behind: Sequence[str]) -> bool:
    """Tell whether `-m` before these words is Python's, which names the module to run."""
    return bool(behind) and behind[0].partition(".")[0] in server.modules


def _full(server: Server, spelled: str) -> str | None:
    """Return the option that a spelling means, None when there is no rule for it."""
    if spelled in server.short:
        return server.short[spelled]
    if not spelled.startswith("--"):
        return None
    dashed = spelled.partition(".")[0].replace("_", "-")  # `--option.key` sets one key of an option's object
    if dashed in server.options:
        return dashed
    if server.abbreviates and len(dashed) > len("--") + 2:
        return next((option for option in server.options if option.startswith(dashed)), None)
    return None


def _values(words: Sequence[str]) -> Iterator[str]:
    """Yield the words behind an option up to the next one."""
    for word in words:
        if word.startswith("-"):
            return
        yield word


def _refused(rule: Rule, option: Option) -> bool:
    match rule.kind:
        case Kind.NEVER:
            return True
        case Kind.VALUES:
            return option.value.lower() in rule.values
    return not option.inside and option.value != ""


def _check_required(server: Server, words: Sequence[str]) -> None:
    if not all(word in words for word in server.when):
        return
    for option, wanted in server.required.items():
        values = [words[i + 1] for i, word in enumerate(words[:-1]) if word == option]
        values += [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
        if values != [wanted]:
            reason = "anything else installs packages that the model lists"
            raise ConfigRefused(server.name, option, f"has to be {wanted}: {reason}", f"add {option} {wanted}")
