"""The gate for configurations: keys that make a loader run code, or read files that were not approved.

No pickle is needed for that: `auto_map`, a hub kernel as the implementation of attention, weights of another name, the
path of a base model. What such keys are is known to one place, the formats and rules that a scan uses: every value
that a rule names, or that nobody has reviewed, is refused here, whatever severity it has and whoever waived it. So is
a file of code beside the weights, which some loaders import because of its name alone.

An approval can allow each by its digest: a value of a JSON document by its path in it (`config.json`, `auto_map`), or a
file as a whole, with an empty key.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from weighbridge.approval import Approval, ApprovedFile
from weighbridge.examination import Examination
from weighbridge.facts import Anomaly, Fact, Gap, Native, Pointer, Step
from weighbridge.formats.json.settings import SHOWN
from weighbridge.judgement import check as judge
from weighbridge.limits import Budget, Limits
from weighbridge.location import Location, printable
from weighbridge.reader import from_bytes
from weighbridge.records import dataclass
from weighbridge.refusals import ConfigRefused, RemoteCode
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.trust import Trust

# Formats of data alone, in which nothing is a setting of a loader that reads other files too; "raw tensors" is what the
# scan calls bytes that another file's tensors lie in. Everything else is read, what has no format too.
_DATA: Final = frozenset(
    "pickle zip safetensors gguf numpy onnx ort gzip zlib bz2 xz lzma lz4 zstd joblib-zfile tar 7z image sentencepiece "
    "tokens merges ranks".split()
) | {"raw tensors"}
_CODE: Final = frozenset({"python", "native"})
_CODE_NAME: Final = re.compile(r".*\.(?:py[cdow]?|so(?:\.\d+)*|dll|dylib)", re.IGNORECASE | re.DOTALL)
# Names in this key are files that are loaded; safetensors among them are no finding of the scan, wherever they lie.
_WEIGHTS: Final = "transformers_weights"
_FIX: Final = "read what it names; if that is meant, approve the model with --allow "
# Approvals that passed, by the digest of what was signed: the same bytes pass again.
_PASSED: Final[set[str]] = set()

Read = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Something that is refused unless the approval allows it: a value (`key` is its path) or a file of code.

    `digest` is what an approval allows it by, empty when only the file as a whole can be allowed, by `file`, the sha256
    of its bytes; `target` is what is named, `reason` why that matters.
    """

    path: str
    key: str
    target: str
    reason: str
    digest: str
    file: str


def check(approval: Approval, read: Read) -> None:
    """Raise ConfigRefused or RemoteCode for the first thing that the approval does not allow.

    `read` returns the verified bytes of an approved file.
    """
    if approval.digest in _PASSED:
        return
    allowed = {(one.path, one.key, one.digest) for one in approval.allowed}
    for demand in demands(approval.files, read):
        if (demand.path, "", demand.file) in allowed:
            continue
        if demand.digest and (demand.path, demand.key, demand.digest) in allowed:
            continue
        where = printable(demand.path)
        if not demand.key:
            raise RemoteCode(where, demand.reason, f"{_FIX}{where}")
        name = f"{where}:{printable(demand.key)}" if demand.digest else where
        raise ConfigRefused(where, demand.key, demand.reason, f"{_FIX}{name}")
    if approval.digest:
        _PASSED.add(approval.digest)


def demands(files: Iterable[ApprovedFile], read: Read) -> Iterator[Demand]:
    """Yield all that has to be allowed for these files to be loaded."""
    files = tuple(files)
    paths = {file.path for file in files}
    rules, trust = RuleSet.shipped(), Trust(f"{shipped_folder()}/trust")
    for file in files:
        if file.format in _CODE or _CODE_NAME.fullmatch(file.path):
            reason = f"a file of code ({file.format or 'of no known format'}) beside the weights"
            yield Demand(path=file.path, key="", target="", reason=reason, digest=file.sha256, file=file.sha256)
        elif file.format not in _DATA and file.size:
            yield from _settings(file, read(file.path), paths, rules, trust)


def _settings(file: ApprovedFile, data: bytes, paths: set[str], rules: RuleSet, trust: Trust) -> Iterator[Demand]:
    """Yield what a configuration demands."""
    facts, _ = Examination(Budget(Limits())).run(from_bytes(data, Location((file.path,))))
    values: dict[str, list[Any]] | None = None
    for fact in facts:
        reason = _reason(fact, file, paths, rules, trust)
        if not reason:
            continue
        key, target = (fact.key, fact.target) if isinstance(fact, Pointer) else (fact.kind, "")
        if values is None:
            values = _values(data) if file.format == "json" else {}
        found = values.get(key, []) if isinstance(fact, Pointer) and len(key) < SHOWN else []
        # Two values of one path cannot be told apart: neither can be allowed by it.
        digest = digest_of(found[0]) if len(found) == 1 else ""
        yield Demand(path=file.path, key=key, target=target, reason=reason, digest=digest, file=file.sha256)


def _reason(fact: Fact, file: ApprovedFile, paths: set[str], rules: RuleSet, trust: Trust) -> str:
    """Return why a fact needs leave, nothing when it needs none."""
    match fact:
        case Gap():
            return f"cannot be read as a loader would: {printable(fact.reason)}"
        case Pointer(type=type_, target=target):
            named = f"it names {printable(target)}"
            beside = posixpath.join(posixpath.dirname(file.path), target)
            if type_ == _WEIGHTS and posixpath.normpath(beside) not in paths:
                return f"{named}, which is not among the approved files"
        case Native(detail=detail):
            named = f"it holds a program: {printable(detail)}"
        case Anomaly(detail=detail):
            named = printable(detail)
        case Step(type=type_, name=name):
            named = f"its template has the {type_} {printable(name)}"
        case _:
            return ""
    judged = judge([fact], rules, trust)
    if judged.findings:
        return f"{named} ({judged.findings[0].rule.id})"
    return f"{named}, which nobody has reviewed" if judged.unknowns else ""


def digest_of(value: Any) -> str:
    """Return the sha256 of a value as canonical JSON: keys sorted, no spaces, ASCII.

    >>> digest_of({"b": 1, "a": "ä"}) == hashlib.sha256(b'{"a":"\\\\u00e4","b":1}').hexdigest()
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _values(data: bytes) -> dict[str, list[Any]]:
    """Return all values of a JSON document by their paths as facts have them, `a.b[0]`; several have one path at times.

    The document was read by the format before, which refuses what is too deep or too large.
    """
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(data))]
    except ValueError:  # lines of JSON: the file can be allowed as a whole
        return {}
    found: dict[str, list[Any]] = {}
    while waiting:
        path, value = waiting.pop()
        found.setdefault(path, []).append(value)
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}" if path else key, one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{place}]", one) for place, one in enumerate(value)]
    return found
