"""Rules: what gives a fact a name, a severity and a remedy. Rules are data; see `rules/`.

A rule matches by names (imports, and what is called, changed or hashed through them) and by facts (kind and
subject). It never makes anything acceptable: what no trust entry covers and no rule names is `Unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Final

from weighbridge import documents, nodes, operators, vocabulary
from weighbridge.digest import Digest
from weighbridge.documents import Words
from weighbridge.errors import DocumentError
from weighbridge.facts import REVIEWED, Gap, Operator, Program, named
from weighbridge.nameindex import NameIndex, is_glob
from weighbridge.operators import Operators, Standing
from weighbridge.records import dataclass, field, replace
from weighbridge.rule_files import digest_of, read_files, shipped_folder
from weighbridge.rule_files import rules_directory as rules_directory
from weighbridge.symbols import Event, Global, Items, State
from weighbridge.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

# The subject, besides its name, of a State or Items event that changes an imported object in place.
IN_PLACE: Final = "<global>"

_RULE_ID: Final = r"[A-Z]{3}[0-9]{3}"


class Severity(StrEnum):
    """How bad the outcome is if the finding is right, from the least to the worst."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical; the text itself does not sort."""
        return _RANK[self.value]


_RANK: Final = {severity.value: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a rule is about.

    `names`: module -> names in it (globs allowed; `*` alone is the module with all that is in and
    under it). Module `*` lists attributes that are meant wherever a dotted name passes through them.
    `facts`: kind -> globs of subjects.
    """

    names: dict[str, Words] = field(default_factory=dict)
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names and not self.facts:
            raise ValueError("a rule needs names or facts to match")


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Fixtures that the rule must and must not report; they are its test."""

    match: tuple[str, ...]
    no_match: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Where to read on: CWE numbers, MITRE ATLAS and OWASP ids, advisories, addresses."""

    cwe: tuple[int, ...] = ()
    atlas: tuple[str, ...] = ()
    owasp: tuple[str, ...] = ()
    advisories: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule file; `path` is its place under `rules/`."""

    id: str
    title: str
    severity: Severity
    description: str
    remediation: str
    match: Match = field(hash=False)
    examples: Examples
    references: References = field(default_factory=References)
    retired: bool = False
    path: str = field(default="", metadata={"derived": True})

    def __post_init__(self) -> None:
        if not re.fullmatch(_RULE_ID, self.id):
            raise ValueError(f"{self.id!r} is not a rule id such as PKL001")
        if not (self.title.strip() and self.description.strip() and self.remediation.strip()):
            raise ValueError("title, description and remediation must say something")
        if not self.retired and not (self.examples.match and self.examples.no_match):
            raise ValueError("a rule needs an example that it reports and one that it does not")


class RuleSet:
    """Rules in force, in the order of their ids, the table of operators, and the digest of all these files."""

    def __init__(
        self, *, rules: tuple[Rule, ...] | None = None, digest: Digest, files: Mapping[str, bytes] | None = None
    ):
        self.digest = digest
        self._given = rules
        self._files = files or {}

    @classmethod
    def load(cls, directory: Path) -> RuleSet:
        """Read every rule under `directory`; policies are not rules, trust files count in the digest only.

        Raises DocumentError on a file that is no rule, an id used twice, a file not named after its id, or a wrong
        table of operators.
        """
        files = read_files(str(directory))
        found = cls(rules=_read_rules(files, directory.name), digest=digest_of(files), files=files)
        found.operators = found._read_operators()  # now, so that a wrong table is an error of the folder
        found.vocabulary = found._read_vocabulary()
        return found

    @classmethod
    def shipped(cls) -> RuleSet:
        """Return the rules that ship, to be decoded when a fact asks for one: what is trusted needs none.

        Those of a package were read without error when it was built.
        """
        files = read_files(shipped_folder())
        found = cls(digest=digest_of(files), files=files)
        subjects = nodes.composed(found.digest.value)
        if subjects is not None:
            found.subjects = subjects
        return found

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule, retired ones too."""
        return _read_rules(self._files, "rules") if self._given is None else self._given

    @cached_property
    def subjects(self) -> dict[str, list[str]]:
        """The patterns of subjects that rules match, by kind of fact: what no pattern fits needs no rule decoded."""
        return {kind: [pattern for pattern, _ in found] for kind, found in self._facts.items()}

    @cached_property
    def told(self) -> frozenset[str]:
        """The kinds of facts that a judgement can depend on; the others, which are most, only describe."""
        return REVIEWED | self.subjects.keys() | {Gap.kind, Program.kind, Operator.kind}

    def named(self, module: str, name: str) -> Rule | None:
        """Return the rule that names `module : name` (normalised) or a step on the way to it."""
        return self._names.find(module, name)

    def about(self, kind: str, subject: str) -> Rule | None:
        """Return the rule that matches a fact by its kind and subject."""
        for index, pattern in enumerate(self.subjects.get(kind, ())):
            if pattern == subject or (is_glob(pattern) and fnmatchcase(subject, pattern)):
                return self._facts[kind][index][1]
        return None

    def about_event(self, event: Event) -> Rule | None:
        """Return the rule that matches an event of a program, by its names first."""
        source = named(event)
        rule = self.named(source.module, source.name) if source is not None else None
        if rule is None and isinstance(event, State | Items) and isinstance(event.target, Global):
            rule = self.about(event.kind, IN_PLACE)
        return rule or self.about(event.kind, event.subject)

    def about_operator(self, operator: Operator, standing: Standing) -> Rule | None:
        """Return the rule that names an operator, or a worse one about all of its standing."""
        own, general = self.about(operator.kind, operator.subject), self.about(operator.kind, standing)
        if own is None or general is None:
            return own or general
        return max(own, general, key=lambda rule: rule.severity.rank)

    @cached_property
    def operators(self) -> Operators:
        """The operators that are known; none without the table."""
        return self._read_operators()

    def _read_operators(self) -> Operators:
        data = self._files.get(operators.TABLE)
        return Operators({}) if data is None else operators.read(data, operators.TABLE)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What configurations and templates ordinarily name; nothing without the table."""
        return self._read_vocabulary()

    def _read_vocabulary(self) -> Vocabulary:
        data = self._files.get(vocabulary.TABLE)
        return Vocabulary({}) if data is None else vocabulary.read(data, vocabulary.TABLE)

    @cached_property
    def _names(self) -> NameIndex[Rule]:
        worst_first = sorted(self.rules, key=lambda rule: (-rule.severity.rank, rule.id))
        return NameIndex((rule, rule.match.names) for rule in worst_first if not rule.retired)

    @cached_property
    def _facts(self) -> dict[str, list[tuple[str, Rule]]]:
        """Per kind of fact its patterns: plain ones before globs, long before short, the worst severity first."""
        table: dict[str, list[tuple[str, Rule]]] = {}
        for rule in self.rules:
            for kind, patterns in rule.match.facts.items() if not rule.retired else ():
                table.setdefault(kind, []).extend((pattern, rule) for pattern in patterns)
        for found in table.values():
            found.sort(key=lambda one: (is_glob(one[0]), -len(one[0]), -one[1].severity.rank, one[1].id, one[0]))
        return table


def _read_rules(files: Mapping[str, bytes], folder: str) -> tuple[Rule, ...]:
    rules: dict[str, Rule] = {}
    for name, data in files.items():
        if name.startswith("trust/") or not name.endswith(".yaml"):
            continue
        rule = replace(read_rule(data, f"{folder}/{name}"), path=name)
        if rule.id in rules:
            raise DocumentError(name, f"{rule.id} is already the id of {rules[rule.id].path}")
        rules[rule.id] = rule
    return tuple(rules[key] for key in sorted(rules))


def read_rule(data: bytes, name: str) -> Rule:
    """Return the rule in a file; raise DocumentError when it is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(name, "not UTF-8") from error
    rule = documents.read(text, Rule, name=name)
    if not name.rpartition("/")[2].startswith(f"{rule.id}-"):
        raise DocumentError(name, f"the file of {rule.id} must be named {rule.id}-<slug>.yaml")
    return rule
