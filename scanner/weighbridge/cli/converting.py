"""`weighbridge convert` for folders: the policy decides what comes along with the weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weighbridge.cli.convert import part
from weighbridge.cli.judging import policy_from
from weighbridge.cli.output import emit
from weighbridge.convert.directory import FolderConversion, convert_folder
from weighbridge.convert.directory_proof import verify_folder
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome, Policy, Verdict
from weighbridge.report.base import counted, sized

if TYPE_CHECKING:
    from weighbridge.limits import Limits

LINES: Final = 40  # of each part; the record has all


def convert_directory(source: Path, destination: Path, limits: Limits, options: dict[str, Any]) -> int:
    """Convert a folder, or verify one that was converted, and say what became of it; return the exit status."""
    if options["overwrite"]:
        raise UsageError("--overwrite is for files: a folder is converted into a new one")
    if options["verify"]:
        count = verify_folder(source, destination, state_dict=options["state_dict"], limits=limits)
        name, other = printable(destination.as_posix()), printable(source.as_posix())
        told = {"source": source.name, "output": destination.name, "weights": count, "verified": True}
        text = f"{name} has the weights of {counted(count, 'file')} of {other}: every byte compared"
        emit([json.dumps(told, sort_keys=True)] if options["form"] == "json" else [text])
        return 0
    policy = policy_from({**options, "no_digest": False}, [source])
    made = convert_folder(
        source,
        destination,
        judge=judged_by(policy, limits),
        state_dict=options["state_dict"],
        drop_aliases=options["drop_aliases"],
        max_output=options["max_output"],
        verify=not options["copy_only"],
        digests=not (options["copy_only"] or options["no_digest"]),
        checksums=not options["no_digest"],
        limits=limits,
    )
    emit(made.text().splitlines() if options["form"] == "json" else _text(made))
    return 0


def judged_by(policy: Policy, limits: Limits) -> Callable[[Path, list[str]], Mapping[str, str]]:
    """Return the judge of a folder that keeps what passes a policy, and nothing else."""

    def judge(place: Path, paths: list[str]) -> dict[str, str]:
        names = {(place / path).as_posix(): path for path in paths}
        verdict = scan(list(names), policy=policy, limits=limits, digest=bool(policy.waivers))
        return {
            names[file.path]: _reason(verdict, file.path, file.outcome)
            for file in verdict.files
            if file.path in names and file.outcome is not Outcome.PASS
        }

    return judge


def _reason(verdict: Verdict, path: str, outcome: Outcome) -> str:
    """Return an outcome with what it rests on, in one line."""
    found = [f"{one.rule.id} {one.rule.title}" for one in verdict.findings if one.fact.location.path[0] == path]
    found += [f"unknown {one.fact.subject}" for one in verdict.unknowns if one.fact.location.path[0] == path]
    found += [gap.reason for gap in verdict.gaps if gap.location.path[0] == path]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{outcome.value}: {found[0]}{more}" if found else outcome.value


def _text(made: FolderConversion) -> Iterator[str]:
    tensors = sum(len(one.tensors) for one in made.conversions.values())
    size = sum(one.size for one in made.conversions.values())
    files = counted(len(made.conversions), "file")
    yield f"{printable(made.destination.as_posix())}: {counted(tensors, 'tensor')} in {files}, {sized(size)}"
    compared = all(one.verified for one in made.conversions.values())
    yield f"  {'every byte compared' if compared else 'nothing compared'}; record in conversion.json"
    yield from part("weights", [f"{path} from {made.sources[path]}" for path in made.conversions], LINES)
    yield from part("copied", list(made.copied), LINES)
    yield from part(
        "rewritten", [f"{one.path}: {one.key} = {one.new} (was {one.old})" for one in made.rewritten], LINES
    )
    yield from part("left out", [f"{path}: {reason}" for path, reason in made.left_out.items()], LINES)
