"""The trust policy: whom to believe about which model, and what is refused whoever signed it.

A trust policy is a file in TOML (docs/trust.md). Everything is denied that it does not name. Paths in it start from the
folder that it lies in. Its digest stands in the decisions that are made by it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from weighbridge import documents
from weighbridge.digest import Digest
from weighbridge.errors import DocumentError, UsageError
from weighbridge.evidence import home, patterns
from weighbridge.evidence.base import Method
from weighbridge.evidence.keys import pem_digest
from weighbridge.evidence.trust_entries import (
    Approver,
    Deny,
    Expired,
    Missing,
    Pin,
    Refused,
    Root,
    RootType,
    SourceRule,
    TrustedSigner,
    Uncovered,
    bare,
)
from weighbridge.location import printable
from weighbridge.records import dataclass, field, replace
from weighbridge.refusals import SignatureUnsupported, SourceUncovered

__all__ = [
    "OWN",
    "OWN_VERIFIER",
    "Approver",
    "Deny",
    "Expired",
    "Missing",
    "Pin",
    "Refused",
    "Root",
    "RootType",
    "SourceRule",
    "TrustPolicy",
    "TrustedSigner",
    "Uncovered",
    "bare",
    "choose",
    "default",
    "own",
    "parse",
    "place",
    "read",
]

VARIABLE: Final = "WEIGHBRIDGE_TRUST"
VERSION: Final = 1
# The verifier that approvals made with the user's own key name, and the signer that the policy without a file has.
OWN: Final = "self"
OWN_VERIFIER: Final = "urn:weighbridge:verifier:local"

MAX_POLICY: Final = 1 << 20  # bytes; one of a large organisation takes 100 kB
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """What a trust policy says; `where` names it in errors, and `digest` is that of the file (empty without one)."""

    where: str
    roots: Mapping[str, Root] = field(default_factory=dict)
    signers: Mapping[str, TrustedSigner] = field(default_factory=dict)
    rules: tuple[SourceRule, ...] = ()
    approvers: Mapping[str, Approver] = field(default_factory=dict)
    deny: Deny = field(default_factory=Deny)
    digest: str = ""

    def rule_for(self, source: str) -> SourceRule:
        """Return the most specific rule for a source, a reference without its revision.

        What a rule says of a model it says of each of its files, too. Raises SourceUncovered when there is none.
        """
        names = {source, _model(source)}
        found = [rule for rule in self.rules if any(patterns.matches(rule.source, one) for one in names)]
        if not found:
            begin = "add one" if self.digest else "`weighbridge trust init` begins one"
            fix = f"{begin}, or name who has to have signed with an option, such as --key"
            raise SourceUncovered(printable(source), f"the trust policy {self.where} has no rule for this source", fix)
        return max(found, key=lambda rule: patterns.specificity(rule.source))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A trust policy as its file has it."""

    version: int
    default: Refused = Refused.DENY
    roots: dict[str, Root] = field(default_factory=dict)
    signers: dict[str, TrustedSigner] = field(default_factory=dict)
    rules: tuple[SourceRule, ...] = ()
    approvers: dict[str, Approver] = field(default_factory=dict)
    deny: Deny = field(default_factory=Deny)

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"a trust policy of version {self.version}; this release reads version {VERSION}")


def read(path: Path) -> TrustPolicy:
    """Return the trust policy in a file.

    Raises DocumentError when it cannot be read or is wrong. The files that it names are not looked at.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_POLICY + 1)
        text = raw.decode("utf-8")
    except FileNotFoundError as error:
        raise DocumentError(name, "there is no such file; `weighbridge trust init` writes one to begin with") from error
    except OSError as error:
        raise DocumentError(name, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DocumentError(name, "not UTF-8") from error
    if len(raw) > MAX_POLICY:
        raise DocumentError(name, f"larger than {MAX_POLICY} bytes")
    return parse(text, path)


def parse(text: str, path: Path) -> TrustPolicy:
    """Return the trust policy in a text that lies, or is to lie, at `path`; raise DocumentError when it is wrong."""
    name = printable(str(path))
    if path.suffix != ".toml":
        raise DocumentError(name, "a trust policy is in TOML, and the name of its file ends in .toml")
    try:
        document = documents.read(text, _Document, name=name)
        _check_names(document, name)
        _check_ties(document.rules, name)
    except DocumentError as error:
        raise documents.placed(error, text, name) from error
    folder = path.absolute().parent
    approvers, mine = _with_own(document)
    return TrustPolicy(
        where=name,
        roots=MappingProxyType(
            {
                key: replace(one, name=key, path=folder / (one.trusted_root or one.pem))
                for key, one in document.roots.items()
            }
        ),
        signers=MappingProxyType(
            {key: replace(one, name=key, path=folder / one.public_key) for key, one in document.signers.items()} | mine
        ),
        rules=document.rules,
        approvers=MappingProxyType(approvers),
        deny=document.deny,
        digest=str(Digest.of(text.encode("utf-8"))),
    )


def _with_own(document: _Document) -> tuple[dict[str, Approver], dict[str, TrustedSigner]]:
    """Return the approvers of a document, and the user's own key as a signer when one of them is `self`.

    Without a key nobody is that approver yet.
    """
    approvers = dict(document.approvers)
    if OWN in document.signers or all(one.signer != OWN for one in approvers.values()):
        return approvers, {}
    mine = dict(own().signers)
    return {key: one for key, one in approvers.items() if one.signer != OWN or mine}, mine


def place() -> Path:
    """Return where the trust policy lies, or would: what WEIGHBRIDGE_TRUST names, else among the user's settings."""
    named = os.environ.get(VARIABLE)
    return home.expanded(named, VARIABLE) if named else home.trust_path()


def default() -> TrustPolicy:
    """Return the policy of WEIGHBRIDGE_TRUST, else the user's, else one that trusts the user's own key to approve.

    Raises DocumentError when there is a file and it is wrong.
    """
    path = place()
    # A variable, or a link, that leads nowhere is no reason to do without.
    return read(path) if os.environ.get(VARIABLE) or os.path.lexists(path) else own()


def choose(named: str | os.PathLike[str] | None, judged: str | os.PathLike[str]) -> TrustPolicy:
    """Return the policy in the file that is named, else `default()`, to judge a folder by.

    Raises UsageError when it lies in that folder, DocumentError when it is wrong.
    """
    path = Path(named) if named else place() if os.environ.get(VARIABLE) else home.folder()
    if path.resolve().is_relative_to(Path(judged).resolve()):
        shown = printable(str(path))
        raise UsageError(f"{shown}: it came with the model that it is to judge; name a trust policy elsewhere")
    return read(Path(named)) if named is not None else default()


def own() -> TrustPolicy:
    """Return the policy that trusts what is signed with the user's own key, if there is one, and nothing else.

    Raises DocumentError when there is a key and it is wrong.
    """
    path = home.public_key_path()
    name = f"{printable(str(home.trust_path()))} (not there)"
    where = printable(str(path))
    try:
        spki = pem_digest(path.read_bytes(), where)
    except FileNotFoundError:
        return TrustPolicy(where=name)
    except OSError as error:
        raise DocumentError(where, f"cannot be read: {error.strerror}") from error
    except SignatureUnsupported as error:
        raise DocumentError(where, error.reason) from error
    signer = TrustedSigner(
        method=Method.KEY,
        public_key=path.name,
        sha256_spki=spki.value,
        name=OWN,
        path=path,
    )
    return TrustPolicy(
        where=name, signers={OWN: signer}, approvers={OWN: Approver(signer=OWN, verifier_id=OWN_VERIFIER)}
    )


def _model(source: str) -> str:
    """Return the model on the Hub of which a source is one file or folder, `hf://org/name:path`; others as they are."""
    scheme, mark, rest = source.partition("://")
    return f"{scheme}://{rest.partition(':')[0]}" if mark and scheme == "hf" else source


def _check_names(document: _Document, name: str) -> None:
    """Refuse names that nothing in the document has."""
    for kind in ("roots", "signers", "approvers"):
        for key in getattr(document, kind):
            if not _NAME.fullmatch(key):
                raise DocumentError(
                    f"{name}:{kind}.{printable(key)}", "a name is 1 to 64 letters, digits, '.', '_' or '-'"
                )
    for key, signer in document.signers.items():
        if signer.root:
            wanted = RootType.SIGSTORE if signer.method is Method.SIGSTORE else RootType.X509
            _check_root(document, signer.root, wanted, f"{name}:signers.{key}.root")
        if signer.timestamp_root:
            _check_root(document, signer.timestamp_root, RootType.SIGSTORE, f"{name}:signers.{key}.timestamp_root")
    for index, rule in enumerate(document.rules):
        for position, signer_name in enumerate(rule.require):
            _check_signer(document, signer_name, f"{name}:rules[{index}].require[{position}]")
    for key, approver in document.approvers.items():
        _check_signer(document, approver.signer, f"{name}:approvers.{key}.signer", also=OWN)


def _check_root(document: _Document, root: str, wanted: RootType, where: str) -> None:
    if root not in document.roots:
        raise DocumentError(where, f"no root is named {root!r}{documents.suggest(root, list(document.roots))}")
    if document.roots[root].type is not wanted:
        raise DocumentError(where, f"root {root!r} is of type {document.roots[root].type}, not {wanted}")


def _check_signer(document: _Document, signer: str, where: str, *, also: str = "") -> None:
    if signer not in document.signers and signer != also:
        raise DocumentError(where, f"no signer is named {signer!r}{documents.suggest(signer, list(document.signers))}")


def _check_ties(rules: tuple[SourceRule, ...], name: str) -> None:
    """Refuse two rules of which neither is more specific, and that are for the same source."""
    for index, rule in enumerate(rules):
        for earlier, other in enumerate(rules[:index]):
            same = patterns.specificity(rule.source) == patterns.specificity(other.source)
            if same and patterns.overlap(rule.source, other.source):
                reason = f"as specific as {other.source!r} of rules[{earlier}], and there are sources that match both"
                raise DocumentError(f"{name}:rules[{index}].source", reason)
