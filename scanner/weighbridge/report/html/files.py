"""The parts of the page that say what there is: files and their digests, names, weights, evidence, and the history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weighbridge.detail import DANGEROUS, TRUSTED, UNKNOWN, Import, Share
from weighbridge.facts import Tensor
from weighbridge.policy import FileVerdict, Verdict
from weighbridge.report.base import NO_TIME, Style, counted, sized, steps
from weighbridge.report.html.charts import Part, bar, covered, legend, length, share
from weighbridge.report.html.markup import Markup, code, element, joined, section, table, text

if TYPE_CHECKING:
    from datetime import datetime

    from weighbridge.evidence.base import Evidence, Signature

# Rows of the tables; the JSON report has all files, `weighbridge inspect` and `weighbridge tensors` the rest.
FILES: Final = 1000
NAMES: Final = 300
CHARTED: Final = 25
REASONS: Final = 3  # of another program
# Colors of dtypes, the largest first; all others share the last.
COLORS: Final = 6

# Whose word a claim is that nobody signed.
_UNSIGNED: Final = {"claims": "the registry declares its sha256"}
_WORSE: Final = (TRUSTED, UNKNOWN, DANGEROUS)


def files(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with every file, the worst first."""
    worst = sorted(verdict.files, key=lambda file: (-file.outcome.rank, file.path))
    rows = [_file(file) for file in worst[:FILES]]
    notes = []
    if len(worst) > FILES:
        notes.append(f"… and {counted(len(worst) - FILES, 'more file')}")
    if verdict.excluded:
        notes.append(f"{counted(len(verdict.excluded), 'file')} excluded, and not covered by this verdict.")
    yield section(
        "files",
        "Files",
        table(
            "The files that this verdict covers", ("verdict", "file", "size", "examined", "sha256"), rows, kind="files"
        ),
        joined(element("p", note, class_="note") for note in notes),
    )


def _file(file: FileVerdict) -> tuple[Markup, ...]:
    formats = ", ".join(file.formats) or "no known format"
    kept = [element("small", "in quarantine as ", code(file.quarantine))] if file.quarantine else []
    size = file.coverage.total or 1
    unexamined = share(file.coverage.unexamined, size)
    label = f"{share(file.coverage.parsed, size)} parsed, {unexamined} not examined"
    return (
        element("span", file.outcome.value, class_=f"chip {file.outcome.value}"),
        joined((code(file.path), element("small", formats), *kept), ""),
        text(sized(file.size)),
        bar(covered(file.coverage), label),
        code(file.digest.value) if file.digest else element("small", "not digested"),
    )


def imports(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with the names that the files use; those that are trusted fold away."""
    merged: dict[str, tuple[Import, int]] = {}
    for file in verdict.files:
        for one in file.detail.imports if file.detail is not None else ():
            before, count = merged.get(one.name, (None, 0))
            merged[one.name] = (one if before is None else _both(before, one)), count + 1
    if not merged:
        return
    several = len(verdict.files) > 1
    order = sorted(merged.values(), key=lambda pair: (-_WORSE.index(pair[0].status), pair[0].name))
    doubtful = [pair for pair in order if pair[0].status != TRUSTED]
    trusted = [pair for pair in order if pair[0].status == TRUSTED]
    parts = []
    if doubtful:
        parts.append(_names("Names that are dangerous or not reviewed", doubtful, several=several))
    if trusted:
        summary = element("summary", f"{counted(len(trusted), 'name')} that trust entries cover")
        parts.append(element("details", summary, _names("Names that trust entries cover", trusted, several=several)))
    yield section("imports", "Imports", *parts)


def _both(one: Import, other: Import) -> Import:
    worse = max(one, other, key=lambda each: _WORSE.index(each.status))
    return Import(name=one.name, status=worse.status, uses=one.uses + other.uses, because=worse.because)


def _names(caption: str, pairs: list[tuple[Import, int]], *, several: bool) -> Markup:
    rows = [
        (
            element("span", one.status, class_=f"chip {one.status}"),
            code(one.name),
            text(str(one.uses)),
            *((text(str(count)),) if several else ()),
            text(one.because),
        )
        for one, count in pairs[:NAMES]
    ]
    heads = ("status", "name", "uses", *(("files",) if several else ()), "why")
    rest = len(pairs) - len(rows)
    more = element("p", f"… and {counted(rest, 'more name')}", class_="note") if rest else ""
    return joined((table(caption, heads, rows, kind="names"), more))


def weights(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with the tensors: all bytes by dtype, and the largest ones."""
    found = [file.detail.weights for file in verdict.files if file.detail is not None and file.detail.weights]
    if not found:
        return
    count, size = sum(one.count for one in found), sum(one.size for one in found)
    parts = _by_dtype([one for each in found for one in each.shares])
    largest = sorted((one for each in found for one in each.largest), key=lambda one: (-one.size, one.name))
    first = largest[0].size
    rows = [_tensor(tensor, first) for tensor in largest[:CHARTED]]
    rest = count - len(rows)
    yield section(
        "weights",
        "Tensors",
        element("p", f"{counted(count, 'tensor')}, {sized(size)}, by dtype:"),
        bar(parts, "bytes of tensors by dtype"),
        legend(parts),
        table("The largest tensors", ("tensor", "dtype", "shape", "size", ""), rows, kind="tensors"),
        element("p", f"… and {counted(rest, 'smaller tensor')}", class_="note") if rest else "",
    )


def _by_dtype(shares: list[Share]) -> list[Part]:
    sizes: dict[str, int] = {}
    for one in shares:
        sizes[one.dtype] = sizes.get(one.dtype, 0) + one.size
    order = sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [(f"series{number}", dtype, size) for number, (dtype, size) in enumerate(order[: COLORS - 1])]
    if len(order) >= COLORS:
        parts.append((f"series{COLORS - 1}", "others", sum(size for _, size in order[COLORS - 1 :])))
    return parts


def _tensor(tensor: Tensor, largest: int) -> tuple[Markup, ...]:
    shape = " \u00d7 ".join(str(side) for side in tensor.shape) or "scalar"
    return (
        code(tensor.name),
        text(tensor.dtype),
        text(shape),
        text(sized(tensor.size)),
        length(tensor.size, largest, sized(tensor.size)),
    )


def evidence(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part that says who vouches for the files."""
    parts = []
    if not any(one.signature is not None for one in verdict.evidence):
        parts.append(element("p", "No signature was verified: this verdict says nothing of who made the files."))
    if verdict.evidence:
        heads = ("claim", "who", "when", "of", "files")
        rows = [_claim(one) for one in verdict.evidence]
        parts.append(table("What was verified of where the files come from", heads, rows, kind="evidence"))
    yield section("signatures", "Signatures", *parts)


def _claim(one: Evidence) -> tuple[Markup, ...]:
    signature = one.signature
    uncovered = f", {len(one.uncovered)} not" if one.uncovered else ""
    return (
        joined((text(one.kind), element("small", f"{one.format} {one.predicate_type}".strip())), ""),
        _signer(signature) if signature is not None else text(_UNSIGNED.get(one.format, "nobody signed it")),
        text(_time(signature.signed_at) if signature is not None and signature.signed_at else ""),
        code(str(one.subject)),
        text(f"{len(one.covered)} covered{uncovered}"),
    )


def _signer(signature: Signature) -> Markup:
    """Return the name that the trust policy gives to who signed, and the identity that was verified."""
    issuer = [element("small", f"issuer {signature.issuer}")] if signature.issuer else []
    return joined((text(signature.signer), element("small", code(signature.identity)), *issuer), "")


def opinions(verdict: Verdict) -> Iterator[Markup]:
    """Yield the part with what other programs say, which changes nothing."""
    if verdict.opinions:
        rows = [
            (
                code(one.path),
                text(one.by),
                text(one.says),
                joined((text(detail) for detail in one.details[:REASONS]), "; "),
            )
            for one in verdict.opinions
        ]
        heads = ("file", "by", "says", "because")
        note = element("p", "What another program says stands beside the verdict and changes nothing in it.")
        yield section("opinions", "Second opinion", note, table("Second opinions", heads, rows))


def history(verdict: Verdict, style: Style) -> Iterator[Markup]:
    """Yield the part that tells how the decision came about: what was kept of it, else what every one has."""
    ended = None if style.ended == NO_TIME else style.ended
    items = (
        element(
            "li",
            element("b", step.what),
            element("span", f" by {step.who}") if step.who else "",
            element("time", f"{step.when:%Y-%m-%d %H:%M:%S} UTC", datetime=step.when.isoformat()) if step.when else "",
            element("p", step.note) if step.note else "",
        )
        for step in verdict.history or steps(verdict, ended)
    )
    yield section("history", "How it was decided", element("ol", joined(items), class_="timeline"))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
