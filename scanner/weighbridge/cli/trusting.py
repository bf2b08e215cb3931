"""Whom a command is to believe: the trust policy, or one signer that the options name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.errors import UsageError
from weighbridge.location import printable

if TYPE_CHECKING:
    from weighbridge.cli.options import F
    from weighbridge.evidence.trust_entries import Root, TrustedSigner
    from weighbridge.evidence.trust_policy import TrustPolicy

# The name of a signer that options describe.
GIVEN: Final = "given"
_FILE: Final = click.Path(dir_okay=False, path_type=Path)

_OPTIONS: Final = (
    click.option("--trust", type=_FILE, metavar="FILE", help="The trust policy.  [default: the user's own]"),
    click.option("--key", type=_FILE, metavar="PEM", help="Believe this public key, and no trust policy."),
    click.option(
        "--certificate-chain", "chain", type=_FILE, metavar="PEM", help="Believe certificates of these authorities."
    ),
    click.option("--subject", metavar="NAME", help="Whose certificate, such as CN=Signing,O=Acme,C=US."),
    click.option("--identity", metavar="NAME", help="Believe this keyless identity: a mail address or a URL."),
    click.option("--issuer", metavar="URL", help="Who vouched for the identity."),
    click.option("--trusted-root", "sigstore_root", type=_FILE, metavar="FILE", help="The trusted root of sigstore."),
)
# Options that name a signer, each with those that it needs.
_SIGNERS: Final = {"key": (), "chain": ("subject",), "identity": ("issuer", "sigstore_root")}
_NAMES: Final = {"chain": "--certificate-chain", "sigstore_root": "--trusted-root"}


def trust_options(command: F) -> F:
    """Add the options that say whom to believe; `trust_from` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def names_signer(options: dict[str, Any]) -> bool:
    """Tell whether the options name a signer, or a trust policy that does."""
    return any(options[name] is not None for name in ("trust", *_SIGNERS))


def trust_from(options: dict[str, Any], *, ignored: tuple[str, ...] = (), judged: Path | None = None) -> TrustPolicy:
    """Return whom to believe by the options.

    `ignored` are paths that a given signer need not cover; a trust policy that lies in what is `judged` is refused.

    Raises UsageError for a combination that makes no sense, DocumentError when the trust policy is wrong.
    """
    from weighbridge.evidence import trust_policy

    given = [name for name in ("trust", *_SIGNERS) if options[name] is not None]
    if len(given) > 1:
        raise UsageError(f"{_option(given[0])} and {_option(given[1])}: name one signer, or a trust policy")
    _refuse_lonely(given, options)
    if not given or given == ["trust"]:
        if ignored:
            raise UsageError("--ignore goes with a signer or a list of digests; a trust policy has ignored_paths")
        if judged is not None:
            return trust_policy.choose(options["trust"], judged)
        return trust_policy.read(options["trust"]) if given else trust_policy.default()
    return _given(given[0], options, ignored)


def _refuse_lonely(given: list[str], options: dict[str, Any]) -> None:
    """Raise UsageError when an option lacks those that it needs, or is needed by none."""
    for name, needed in _SIGNERS.items():
        for other in needed:
            if name in given and options[other] is None:
                raise UsageError(f"{_option(name)} needs {_option(other)}")
            if name not in given and options[other] is not None:
                raise UsageError(f"{_option(other)} goes with {_option(name)}")


def _given(name: str, options: dict[str, Any], ignored: tuple[str, ...]) -> TrustPolicy:
    from weighbridge.evidence.trust_entries import SourceRule
    from weighbridge.evidence.trust_policy import TrustPolicy

    root, signer = {"key": _key, "chain": _certificate, "identity": _keyless}[name](options)
    return TrustPolicy(
        where=_option(name),
        roots={GIVEN: root} if root else {},
        signers={GIVEN: signer},
        rules=(SourceRule(source="**", require=(GIVEN,), ignored_paths=ignored),),
    )


def _key(options: dict[str, Any]) -> tuple[None, TrustedSigner]:
    from weighbridge.evidence.base import Method
    from weighbridge.evidence.keys import pem_digest
    from weighbridge.evidence.trust_entries import TrustedSigner
    from weighbridge.refusals import SignatureUnsupported

    path: Path = options["key"]
    try:
        digest = pem_digest(_read(path), printable(str(path)))
    except SignatureUnsupported as error:
        raise UsageError(f"--key {printable(str(path))}: {error.reason}") from error
    return None, TrustedSigner(
        method=Method.KEY, public_key=str(path), sha256_spki=digest.value, name=GIVEN, path=path.absolute()
    )


def _certificate(options: dict[str, Any]) -> tuple[Root, TrustedSigner]:
    from weighbridge.evidence.base import Method
    from weighbridge.evidence.trust_entries import Root, RootType, TrustedSigner

    path: Path = options["chain"]
    root = Root(type=RootType.X509, pem=str(path), sha256=_sha256(path), name=_option("chain"), path=path.absolute())
    try:
        return root, TrustedSigner(method=Method.CERTIFICATE, root=GIVEN, subject=options["subject"], name=GIVEN)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _keyless(options: dict[str, Any]) -> tuple[Root, TrustedSigner]:
    from weighbridge.evidence.base import Method
    from weighbridge.evidence.trust_entries import Root, RootType, TrustedSigner

    path: Path = options["sigstore_root"]
    root = Root(
        type=RootType.SIGSTORE,
        trusted_root=str(path),
        sha256=_sha256(path),
        name=_option("sigstore_root"),
        path=path.absolute(),
    )
    try:
        signer = TrustedSigner(
            method=Method.SIGSTORE, root=GIVEN, issuer=options["issuer"], identity=options["identity"], name=GIVEN
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    return root, signer


def _sha256(path: Path) -> str:
    from weighbridge.digest import Digest

    return Digest.of(_read(path)).value


def _read(path: Path) -> bytes:
    from weighbridge.evidence.trust_entries import MAX_ROOT

    return read_file(path, MAX_ROOT)


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a file that an option names; raise UsageError when it cannot be read or is too long."""
    from weighbridge.reading import read_file as read

    return read(path, limit, error=UsageError)


def _option(name: str) -> str:
    return _NAMES.get(name, f"--{name}")
