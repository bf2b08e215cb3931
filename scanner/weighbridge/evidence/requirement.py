"""What a trust policy requires of a model, held against its files and the signatures among them.

1. Find the rule for the source.
2. Collect the signatures: files under the names that the rule gives, or those that were handed over.
3. Verify them, by as many different signers as the rule requires. What anybody else signed counts for nothing.
4. Hold the files against each signature that counts.
5. Look for the tree on the list of what is denied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from weighbridge.artifact import tree_digest
from weighbridge.digest import Digest
from weighbridge.evidence import bundle, oms, patterns, subjects, verifier
from weighbridge.evidence.base import Evidence, Signature
from weighbridge.evidence.bundle import Bundle
from weighbridge.evidence.coverage import Coverage, below
from weighbridge.evidence.measure import Plan
from weighbridge.evidence.tree import Contents
from weighbridge.evidence.trust_entries import Missing, Pin, SourceRule, Uncovered
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.location import printable
from weighbridge.records import dataclass, replace
from weighbridge.refusals import (
    ApprovalRevoked,
    SignatureMalformed,
    SignatureMissing,
    SignatureUnsupported,
    SourceUncovered,
)

if TYPE_CHECKING:
    from weighbridge.evidence.referrers import Attached

# Files that may be signatures; a model has one or two, and each costs a verification for each signer.
MAX_SIGNATURES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfied:
    """What a model has that its rule requires.

    `evidence` has an entry for each signature that counts; there is none when the rule lets the model in unsigned.
    `tree` is the digest of the files that all signatures cover, of every file without one; `uncovered` are the other
    files. `warnings` say what the rule would have refused, had it not said to warn.
    """

    rule: SourceRule
    tree: Digest
    evidence: tuple[Evidence, ...] = ()
    uncovered: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def signed(self) -> bool:
        """Whether anybody signed the model whom the rule requires."""
        return bool(self.evidence)


def require(
    contents: Contents,
    source: str,
    trust: TrustPolicy,
    *,
    now: datetime,
    pinned: bool = True,
    given: Mapping[str, bytes] | None = None,
    beside: Collection[str] = (),
) -> Satisfied:
    """Return how files satisfy what a trust policy requires of their source, a reference without its revision.

    `pinned` tells whether the reference says which revision is meant. `given` are the only signatures to look at, by
    the name that messages call them; without it they are looked for among the files. `beside` are the paths of files
    that no signature covers and that are not the model's.

    Raises SourceUncovered when there is no rule, SignatureMissing when nobody signed, the refusal that says why when
    nobody signed who is required, ContentMismatch when the files are not those that were signed.
    """
    rule = _rule(source, trust, pinned=pinned)  # 1
    bundles = _bundles(_collect(contents, rule) if given is None else given)  # 2
    signatures = verifier.verify_any(list(bundles.values()), rule, trust, now=now, where=contents.where)  # 3
    if not signatures:
        return _unsigned(contents, rule, trust, beside)
    names = {one.digest: name for name, one in bundles.items()}
    found = {*beside, *(names[one.bundle] for one in signatures if given is None)}
    covered = [_covered(contents, one, names[one.bundle], rule, found) for one in signatures]  # 4
    coverages = [coverage for _, coverage in covered]
    tree = _common(coverages)
    _refuse_denied(contents, [tree, *(one.tree for one in coverages)], trust, found)  # 5
    uncovered = sorted({path for one in coverages for path in one.uncovered})
    extra = [path for path in uncovered if path not in found and not below(path, rule.ignored_paths)]
    return Satisfied(
        rule=rule,
        tree=tree,
        evidence=tuple(evidence for evidence, _ in covered),
        uncovered=tuple(uncovered),
        warnings=tuple(f"no signature covers {printable(path)}" for path in extra),
    )


def require_attached(
    attached: Attached,
    source: str,
    trust: TrustPolicy,
    *,
    now: datetime,
    pinned: bool,
    paths: Collection[str],
    tree: Digest | None = None,
) -> Satisfied:
    """Return how a manifest in a registry satisfies its rule by the signatures that refer to it.

    Whoever signed the digest of a manifest signed every file in it: `paths` are their names, and `tree` is their tree
    digest, where it is known. Raises as `require` does.
    """
    from weighbridge.evidence import referrers

    rule = _rule(source, trust, pinned=pinned)
    found = referrers.signatures(attached, rule, trust, now=now) if rule.require else ()
    for what, digest in (("manifest", attached.subject), ("tree", tree)):
        if digest is not None and trust.deny.tree(digest.value):
            reason = f"the {what} {digest} is on the list of what is denied in {trust.where}"
            raise ApprovalRevoked(attached.where, reason)
    files = tuple(sorted(paths))
    return Satisfied(
        rule=rule,
        tree=attached.subject,
        evidence=tuple(replace(one, covered=files) for one in found),
        uncovered=() if found else files,
        warnings=() if found else _unsigned_warnings(rule),
    )


def _rule(source: str, trust: TrustPolicy, *, pinned: bool) -> SourceRule:
    """Return the rule for a source; raise SourceUncovered when there is none, or wants a revision that is not said."""
    rule = trust.rule_for(source)
    if rule.pin is Pin.REQUIRED and not pinned:
        reason = f"the rule for {printable(rule.source)} wants a reference that says which revision is meant"
        raise SourceUncovered(printable(source), reason, "add @revision, or take it from a lock")
    return rule


def _unsigned_warnings(rule: SourceRule) -> tuple[str, ...]:
    """Return what there is to warn of when nobody signed."""
    if rule.missing is not Missing.WARN:
        return ()
    return (f"no signature, and {' or '.join(rule.require)} should have signed",)


def _collect(contents: Contents, rule: SourceRule) -> Mapping[str, bytes]:
    """Return the bytes of the files that may be signatures; nothing when none is required."""
    if not rule.require:
        return {}
    names = [path for path in contents.paths if any(patterns.matches(one, path) for one in rule.signature_files)]
    if len(names) > MAX_SIGNATURES:
        wanted = ", ".join(map(printable, rule.signature_files))
        raise SignatureMalformed(contents.where, f"{len(names)} files match {wanted}, limit is {MAX_SIGNATURES}")
    size = sum(contents.size(path) for path in names)
    if size > bundle.LIMIT:
        raise SignatureMalformed(contents.where, f"{size} bytes in files of signatures, limit is {bundle.LIMIT}")
    return {path: contents.read(path, bundle.LIMIT) for path in names}


def _bundles(found: Mapping[str, bytes]) -> dict[str, Bundle]:
    """Return those that are bundles, by name; raise what is wrong with the first when none is."""
    parsed, refused = {}, []
    for name, raw in found.items():
        try:
            parsed[name] = bundle.parse(raw, printable(name))
        except (SignatureMalformed, SignatureUnsupported) as error:
            refused.append(error)
    if refused and not parsed:
        raise refused[0]
    return parsed


def _covered(
    contents: Contents, signature: Signature, where: str, rule: SourceRule, beside: Collection[str]
) -> tuple[Evidence, Coverage]:
    """Return what a signature covers; with a rule that only warns, anything may lie beside it."""
    warned, name = rule.unsigned_files is Uncovered.WARN, printable(where)
    if subjects.speaks(signature, name):
        return subjects.verify(contents, signature, name, ignored=rule.ignored_paths, beside=beside, partly=warned)
    lenient = set(contents.paths) if warned else beside
    return oms.verify(contents, signature, name, ignored=rule.ignored_paths, beside=lenient)


def _unsigned(contents: Contents, rule: SourceRule, trust: TrustPolicy, beside: Iterable[str]) -> Satisfied:
    """Return what there is to say of a model that its rule lets in without a signature."""
    if rule.missing is Missing.DENY and rule.require:
        raise SignatureMissing(contents.where, "no signature, and the trust policy requires one")
    tree = _tree(contents, set(contents.paths) - set(beside))
    _refuse_denied(contents, [tree], trust, beside)
    return Satisfied(rule=rule, tree=tree, uncovered=contents.paths, warnings=_unsigned_warnings(rule))


def _common(coverages: list[Coverage]) -> Digest:
    """Return the tree digest of the files that every signature covers."""
    first, *others = coverages
    paths = set(first.covered).intersection(*(one.covered for one in others))
    return tree_digest(entry for entry in first.entries if entry.path in paths)


def _refuse_denied(contents: Contents, trees: list[Digest], trust: TrustPolicy, beside: Iterable[str]) -> None:
    """Raise ApprovalRevoked when the covered files are denied, or all files with or without those beside them."""
    if not trust.deny.tree_sha256:
        return
    every = set(contents.paths)
    for tree in (*trees, _tree(contents, every), _tree(contents, every - set(beside))):
        if trust.deny.tree(tree.value):
            reason = f"the tree {tree} is on the list of what is denied in {trust.where}"
            raise ApprovalRevoked(contents.where, reason)


def _tree(contents: Contents, paths: Collection[str]) -> Digest:
    return Coverage.of(contents.measure({path: Plan() for path in paths})).tree
