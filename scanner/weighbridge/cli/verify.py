"""`weighbridge verify`: who signed a model, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.output import emit
from weighbridge.cli.remote import registry_options
from weighbridge.cli.trusting import names_signer, read_file, trust_from, trust_options
from weighbridge.errors import DocumentError, Refusal, SourceError, UsageError
from weighbridge.location import printable
from weighbridge.records import dataclass
from weighbridge.registries import is_reference
from weighbridge.report.base import counted

if TYPE_CHECKING:
    from weighbridge.artifact import Artifact
    from weighbridge.digest import Digest
    from weighbridge.evidence.base import Evidence, Signature
    from weighbridge.evidence.requirement import Satisfied
    from weighbridge.evidence.tree import Contents, Tree
    from weighbridge.registries.oci.registry import OciRegistry

_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What was found of a model: what its trust policy requires, when that was asked, and lists of digests."""

    name: str
    source: str
    paths: tuple[str, ...]
    satisfied: Satisfied | None
    digests: tuple[Evidence, ...]
    collisions: tuple[tuple[str, str], ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All evidence, that with a signature first."""
        return (*(self.satisfied.evidence if self.satisfied else ()), *self.digests)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """The files that nothing covers."""
        covered = {path for one in self.evidence for path in one.covered}
        return tuple(path for path in self.paths if path not in covered)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know besides."""
        same = (f"{printable(one)} and {printable(other)} are one on some systems" for one, other in self.collisions)
        return (*(self.satisfied.warnings if self.satisfied else ()), *same)


@click.command()
@click.argument("model", metavar="PATH|REFERENCE")
@trust_options
@click.option("--signature", type=_FILE, metavar="FILE", help="The signature.  [default: as the trust policy says]")
@click.option("--source", metavar="REFERENCE", help="Where the files at PATH are from: which rule is for them.")
@click.option("--checksums", type=_FILE, metavar="FILE", help="Hold the files against a SHA256SUMS.")
@click.option("--lock", "lock_file", type=_FILE, metavar="FILE", help="Hold the files against a lock.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="PATH",
    help="A file or folder, by its path in the model, that need not be covered; repeatable.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="Text, or one JSON document."
)
@registry_options
def verify(model: str, **options: Any) -> int:
    """Say who signed a model, and whether every byte is as it was signed.

    What is believed is in the trust policy, which is denied nothing by what the model says of itself; --key,
    --certificate-chain or --identity name one signer instead. Every file must be covered: what the signer left out is
    refused unless the trust policy, or --ignore, names it. Links are refused. Nothing is fetched for a PATH.

    With --checksums or --lock alone nobody's signature is asked for: they say that the model is whole, and not whose.

    Exit status: 0 verified, 1 refused, 2 the trust policy or the options are wrong, 4 the model cannot be had.

    \b
    Examples:
      weighbridge verify models/name --key publisher.pub.pem
      weighbridge verify models/name --source hf://acme/name --trust trust.toml
      weighbridge verify models/name --identity ci@acme.example --issuer https://accounts.example \\
        --trusted-root trusted_root.json
      weighbridge verify models/name --checksums SHA256SUMS
    """
    try:
        result = _verify_reference(model, options) if is_reference(model) else _verify_path(model, options)
    except Refusal as error:
        if options["form"] == "json":
            emit([_json(_refused(model, error))])
            return 1
        emit(_listed(error))
        raise
    emit([_json(_document(result))] if options["form"] == "json" else _text(result))
    return 0


def _verify_path(model: str, options: dict[str, Any]) -> _Result:
    from weighbridge.evidence.tree import Tree
    from weighbridge.registries import known_as

    path = Path(model)
    source = known_as(options["source"] or model)
    if not path.exists():
        raise SourceError(f"{printable(model)}: no such file or folder, and no reference to a registry")
    options = {**options, "judged": path}  # whose own word on whom to believe counts for nothing
    with Tree(path) as tree:
        named = [options[name] for name in ("signature", "checksums", "lock_file") if options[name] is not None]
        beside = {place for one in named if (place := tree.holds(one))} | _own_lock(tree, path)
        return _held(tree, model, source, options, beside=beside, pinned=True)


def _verify_reference(model: str, options: dict[str, Any]) -> _Result:
    from weighbridge.cli.fetching import canonical
    from weighbridge.cli.progress import received
    from weighbridge.cli.remote import settings_from
    from weighbridge.evidence.tree import Stored
    from weighbridge.refusals import OfflineError
    from weighbridge.registries.oci.registry import OciRegistry
    from weighbridge.sources import resolve
    from weighbridge.store import Store, fetch
    from weighbridge.store.layout import default_home

    if options["source"]:
        raise UsageError("--source goes with a PATH; a reference says where it is from")
    if options["offline"]:
        reason = "its bytes would have to be fetched, and --offline forbids it"
        raise OfflineError(printable(model), reason, "pull it, and verify the folder")
    found = resolve(canonical(model), settings_from(options))
    others = any(options[name] is not None for name in ("signature", "checksums", "lock_file"))
    if isinstance(found.registry, OciRegistry) and not others:
        result = _attached(found.artifact, found.registry, model, options)
        if result is not None:
            return result
    with Store(default_home()) as store:
        fetched = fetch(found.artifact, found.registry, store, progress=received(quiet=options["form"] == "json"))
        name = printable(fetched.artifact.pinned)
        contents = Stored(name, fetched.manifest.entries, fetched.paths, fetched.fresh)
        pinned = not fetched.artifact.moving
        return _held(contents, model, fetched.artifact.reference, options, beside=set(), pinned=pinned)


def _attached(artifact: Artifact, registry: OciRegistry, name: str, options: dict[str, Any]) -> _Result | None:
    """Return what is found of a manifest in a registry, by the signatures that refer to it; no layer is fetched.

    None when nothing refers to it, and one of its files may be a signature.
    """
    from datetime import UTC, datetime

    from weighbridge.digest import Digest
    from weighbridge.evidence import patterns, referrers
    from weighbridge.evidence.requirement import require_attached

    trust = trust_from(options, ignored=options["ignore"])
    revision = Digest(*artifact.revision.split(":"))
    attached = referrers.collect(registry.repository(artifact), revision, printable(artifact.pinned))
    paths = tuple(file.path for file in artifact.files)
    names = trust.rule_for(artifact.reference).signature_files
    if not attached.bundles and any(patterns.matches(one, path) for one in names for path in paths):
        return None
    satisfied = require_attached(
        attached,
        artifact.reference,
        trust,
        now=datetime.now(UTC),
        pinned=not artifact.moving,
        paths=paths,
        tree=_declared(artifact),
    )
    return _Result(name=name, source=artifact.reference, paths=paths, satisfied=satisfied, digests=(), collisions=())


def _declared(artifact: Artifact) -> Digest | None:
    """Return the tree digest of the files that a manifest names by their digests, None when some are in archives."""
    from weighbridge.artifact import Entry, tree_digest

    found = [
        Entry(file.path, file.size, claim.value)
        for file in artifact.files
        for claim in file.claims
        if claim.algorithm == "sha256"
    ]
    whole = len(found) == len(artifact.files) and not any(file.packing for file in artifact.files)
    return tree_digest(found) if whole else None


def _held(
    contents: Contents, name: str, source: str, options: dict[str, Any], *, beside: set[str], pinned: bool
) -> _Result:
    """Return what is found of files, or raise the refusal."""
    from weighbridge.evidence.tree import collisions

    lists = options["checksums"] is not None or options["lock_file"] is not None
    asked = names_signer(options) or options["signature"] is not None or not lists
    satisfied = _satisfied(contents, source, options, beside=beside, pinned=pinned) if asked else None
    return _Result(
        name=name,
        source=source,
        paths=contents.paths,
        satisfied=satisfied,
        digests=tuple(_digests(contents, options, satisfied, beside)),
        collisions=tuple(collisions(contents.paths)),
    )


def _satisfied(
    contents: Contents, source: str, options: dict[str, Any], *, beside: set[str], pinned: bool
) -> Satisfied:
    from datetime import UTC, datetime

    from weighbridge.evidence.bundle import LIMIT
    from weighbridge.evidence.requirement import require

    trust = trust_from(options, ignored=options["ignore"], judged=options.get("judged"))
    signature: Path | None = options["signature"]
    given = {str(signature): read_file(signature, LIMIT)} if signature is not None else None
    return require(contents, source, trust, now=datetime.now(UTC), pinned=pinned, given=given, beside=beside)


def _digests(
    contents: Contents, options: dict[str, Any], satisfied: Satisfied | None, beside: set[str]
) -> Iterator[Evidence]:
    """Yield the evidence of lists of digests; what a signature covers is no stranger to them, nor is the signature."""
    from weighbridge import lock
    from weighbridge.evidence import sums

    ignored = options["ignore"]
    unlisted = {*beside, *(satisfied.uncovered if satisfied and satisfied.signed else ())}
    if (path := options["checksums"]) is not None:
        expected = sums.parse(read_file(path, sums.LIMIT), printable(str(path)))
        yield sums.verify(contents, expected, sums.SUMS, ignored=ignored, beside=unlisted)[0]
    if (path := options["lock_file"]) is not None:
        model = _locked(lock.read(path), options["source"], path)
        expected = sums.of_manifest(model.manifest)
        yield sums.verify(contents, expected, sums.LOCK, ignored=ignored, beside=unlisted)[0]


def _locked(found: Any, source: str | None, path: Path) -> Any:
    """Return the model of a lock that is meant."""
    from weighbridge.cli.fetching import canonical

    if source is not None:
        model = found.find(canonical(source))
        if model is None:
            raise UsageError(f"{printable(source)}: not in {printable(str(path))}")
        return model
    if len(found.models) != 1:
        raise UsageError(f"{printable(str(path))} locks {counted(len(found.models), 'model')}; --source says which")
    return found.models[0]


def _own_lock(tree: Tree, path: Path) -> set[str]:
    """Return the path of the lock that a pull writes beside a model, if it is one: it is data, and known as such."""
    if tree.single or not any(one.endswith(".lock") for one in tree.paths):
        return set()  # without importing the half of everything that a lock has to do with
    from weighbridge import lock

    if lock.NAME not in tree.paths:
        return set()
    try:
        return {lock.NAME} if lock.has_form(path / lock.NAME) else set()
    except (DocumentError, UsageError):
        return set()


def _text(result: _Result) -> Iterator[str]:
    name = printable(result.name)
    if result.satisfied is not None and not result.satisfied.signed:
        yield f"UNSIGNED: {name}: the trust policy lets it in without a signature"
    else:
        yield f"verified: {name}"
    for one in result.evidence:
        if one.signature is not None:
            yield f"  signed by {_who(one.signature)}"
            if one.signature.signed_at is not None:
                yield f"  signed at {one.signature.signed_at:%Y-%m-%d %H:%M:%S} UTC"
        else:
            yield f"  every file as {_LISTS[one.format]} says, which nobody signed"
        what = "manifest" if one.format == "cosign" else "tree"
        yield f"  covered: {counted(len(one.covered), 'file')}, {what} {one.subject}"
    if result.uncovered:
        yield f"  not covered: {counted(len(result.uncovered), 'file')}"
        yield from (f"    {printable(path)}" for path in result.uncovered)
    yield from (f"  warning: {one}" for one in result.warnings)


_LISTS: Final = {"sha256sums": "the list of digests", "lock": "the lock", "claims": "the registry"}


def _who(signature: Signature) -> str:
    return f"{printable(signature.who)}, with {_METHODS[signature.method]}"


_METHODS: Final = {"key": "a key", "certificate": "a certificate", "sigstore": "a keyless identity"}


def _listed(error: Refusal) -> Iterator[str]:
    """Yield every file of a mismatch, of which the message names a few."""
    from weighbridge.refusals import ContentMismatch

    if isinstance(error, ContentMismatch):
        for kind, paths in (("changed", error.changed), ("missing", error.missing), ("not covered", error.extra)):
            yield from (f"{kind}: {printable(path)}" for path in paths)


def _document(result: _Result) -> dict[str, Any]:
    satisfied = result.satisfied
    tree = satisfied.tree if satisfied is not None else result.digests[0].subject
    return {
        "name": printable(result.name),
        "verified": True,
        "signed": satisfied is not None and satisfied.signed,
        "source": printable(result.source),
        "tree": str(tree),
        "evidence": [_evidence(one) for one in result.evidence],
        "covered": sorted({printable(path) for one in result.evidence for path in one.covered}),
        "uncovered": [printable(path) for path in result.uncovered],
        "warnings": list(result.warnings),
    }


def _evidence(one: Evidence) -> dict[str, Any]:
    signature = one.signature
    document: dict[str, Any] = {"kind": one.kind, "format": one.format, "tree": str(one.subject)}
    if signature is not None:
        document |= {
            "predicate_type": printable(one.predicate_type),
            "method": str(signature.method),
            "signer": printable(signature.signer),
            "identity": printable(signature.identity),
            "issuer": printable(signature.issuer),
            "signed_at": signature.signed_at.isoformat() if signature.signed_at else None,
            "bundle": str(signature.bundle),
        }
    return document


def _refused(model: str, error: Refusal) -> dict[str, Any]:
    from weighbridge.refusals import ContentMismatch, SignatureInvalid, SignerUntrusted

    document: dict[str, Any] = {
        "name": printable(model),
        "verified": False,
        "code": error.code,
        "where": error.where,
        "reason": error.reason,
        "fix": error.fix,
    }
    if isinstance(error, ContentMismatch):
        for kind, paths in (("changed", error.changed), ("missing", error.missing), ("extra", error.extra)):
            document[kind] = [printable(path) for path in paths]
    if isinstance(error, SignatureInvalid):
        document["step"] = error.step
    if isinstance(error, SignerUntrusted):
        document |= {"actual": printable(error.actual), "expected": printable(error.expected)}
    return document


def _json(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, indent=2, sort_keys=True)
