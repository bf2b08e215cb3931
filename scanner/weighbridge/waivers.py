"""Writing waivers: from a finding of a report to an entry of a policy file, which keeps every other byte of it.

The report is that of `--format json`. A waiver is as narrow as what it is for: one rule, one file by its digest, one
name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

from weighbridge import documents
from weighbridge.errors import DocumentError, UsageError
from weighbridge.formats.json.verdict import SCHEMA
from weighbridge.location import printable
from weighbridge.policy import UNKNOWN, Waiver
from weighbridge.policy_file import PYPROJECT, TABLE, PolicyFile, read_file, read_layers
from weighbridge.records import dataclass, replace
from weighbridge.rule_files import read

MAX_REPORT: Final = 256 << 20  # bytes; a folder of ten thousand files with findings has a tenth of that
_FIELDS: Final = ("rule", "digest", "subject", "reason", "approver", "expires")
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A finding or an unknown of a report, by its number there; `digest` is that of the file it is in."""

    number: int
    rule: str
    place: str
    path: str
    subject: str
    text: str
    digest: str

    def __str__(self) -> str:
        return f"{self.number}: {self.rule} {self.place}: {self.text}"


def reported(path: Path) -> list[Reported]:
    """Return what can be waived of a report: its findings, then its unknowns, numbered from 1.

    Raises DocumentError when the file is no report of a verdict in JSON.
    """
    name = printable(str(path))
    try:
        data = read(path)
    except OSError as error:
        raise DocumentError(name, error.strerror or "cannot be read") from error
    if len(data) > MAX_REPORT:
        raise DocumentError(name, f"larger than {MAX_REPORT} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DocumentError(name, "no JSON; --format json writes the report that is meant") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DocumentError(name, f"no report of the form {SCHEMA}; --format json writes one")
    try:
        digests = {file["path"]: file["digest"] for file in document["files"]}
        items = [*document["findings"], *document["unknowns"]]
        return [_reported(number, item, digests) for number, item in enumerate(items, start=1)]
    except (KeyError, TypeError, AttributeError) as error:
        raise DocumentError(name, f"no report of the form {SCHEMA}: {error}") from error


def _reported(number: int, item: dict[str, Any], digests: dict[str, str | None]) -> Reported:
    return Reported(
        number=number,
        rule=str(item.get("rule", UNKNOWN)),
        place=str(item["location"]["text"]),
        path=str(item["location"]["path"]),
        subject=str(item["fact"]["subject"]),
        text=str(item["fact"]["text"]),
        digest=str(digests[item["location"]["path"]] or ""),
    )


def pick(found: list[Reported], word: str) -> list[Reported]:
    """Return what a word means in a report: a number, a place such as `model.pt!data.pkl@0x2f`, a rule or `unknown`.

    Raises UsageError when it means nothing, or findings in several files.
    """
    chosen = [one for one in found if word in (str(one.number), one.place, one.rule)]
    if not chosen:
        known = "".join(f"\n  {one}" for one in found[:_SHOWN]) or "\n  nothing that can be waived"
        raise UsageError(f"{printable(word)}: no number, place or rule of a finding in the report, which has{known}")
    if len({one.path for one in chosen}) > 1:
        several = "".join(f"\n  {one}" for one in chosen[:_SHOWN])
        raise UsageError(f"{printable(word)}: in several files; name one of{several}")
    return chosen


def waivers_for(chosen: list[Reported], *, reason: str, approver: str, expires: date) -> list[Waiver]:
    """Return a waiver for every rule and name among some findings of one file.

    Raises UsageError when the report has no digest of the file, or shows a name otherwise than it is.
    """
    made = []
    for one in chosen:
        if not one.digest:
            raise UsageError(f"{one.path}: the report has no digest of the file; scan it without --no-digest")
        if "\\" in one.subject:
            raise UsageError(
                f"{one.subject}: the name has characters that reports cannot show; waive nothing like this"
            )
        try:
            waiver = Waiver(
                rule=one.rule,
                digest=one.digest,
                subject=_literal(one.subject),
                reason=reason,
                approver=approver,
                expires=expires,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        if waiver not in made:
            made.append(waiver)
    return made


def _literal(subject: str) -> str:
    """Return a pattern that a name alone matches."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in subject)


def added(text: str, made: list[Waiver], name: str) -> str:
    """Return a policy file, or a file of waivers, with waivers at its end and all else as it was.

    Raises UsageError, which shows what to add by hand, when the end of it is no place for them: the list is written in
    one value, or something follows it. Raises DocumentError when the file is wrong.
    """
    before = _says(text, name) if text.strip() else PolicyFile()
    begun = text if not text or text.endswith("\n") else f"{text}\n"
    for whole in _candidates(begun, made, name, listed=bool(before.waivers)):
        try:
            after = _says(whole, name)
        except DocumentError:
            continue
        if replace(after, waivers=()) == replace(before, waivers=()) and after.waivers == (*before.waivers, *made):
            return whole
    by_hand = "".join(f"\n  {_in_line(one, name)}" for one in made)
    raise UsageError(f"{printable(name)}: its end is no place for a waiver; add this to its list `waivers`:{by_hand}")


def _candidates(begun: str, made: list[Waiver], name: str, *, listed: bool) -> Iterator[str]:
    """Yield what the file may become; the entries of a list in YAML stand where the earlier ones do."""
    if name.endswith(".toml"):
        yield begun + "".join(_table(one, name) for one in made)
        return
    for indent in ("  ", "", "    "):
        yield begun + ("" if listed else "waivers:\n") + "".join(_entry(one, indent) for one in made)


def _says(text: str, name: str) -> PolicyFile:
    is_project = name.replace("\\", "/").rpartition("/")[2] == PYPROJECT
    return documents.read(text, PolicyFile, name=name, table=TABLE if is_project else "")


def _pairs(waiver: Waiver) -> list[tuple[str, str]]:
    """Return the keys of a waiver and their values, as TOML and YAML both have them."""
    return [
        (key, value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=not value.isprintable()))
        for key, value in _said(waiver)
    ]


def _said(waiver: Waiver) -> list[tuple[str, str | date]]:
    """Return what a waiver says, without what it leaves open."""
    return [(key, value) for key in _FIELDS if (value := getattr(waiver, key)) is not None]


def _table(waiver: Waiver, name: str) -> str:
    prefix = f"{TABLE}." if name.replace("\\", "/").rpartition("/")[2] == PYPROJECT else ""
    return f"\n[[{prefix}waivers]]\n" + "".join(f"{key} = {value}\n" for key, value in _pairs(waiver))


def _entry(waiver: Waiver, indent: str) -> str:
    lines = [f"{key}: {value}\n" for key, value in _pairs(waiver)]
    return f"{indent}- {lines[0]}" + "".join(f"{indent}  {line}" for line in lines[1:])


def _in_line(waiver: Waiver, name: str) -> str:
    """Return a waiver as an entry of a list that is written in one value; JSON is YAML, too."""
    if name.endswith(".toml"):
        return f"{{ {', '.join(f'{key} = {value}' for key, value in _pairs(waiver))} }},"
    return json.dumps({key: value if isinstance(value, str) else str(value) for key, value in _said(waiver)})


def longest(path: Path) -> int:
    """Return how many days ahead a waiver in a policy file may end."""
    from weighbridge.policy_file import settle

    return (
        settle(read_layers(read_file(path), str(path))).max_waiver_days if path.exists() else settle([]).max_waiver_days
    )
