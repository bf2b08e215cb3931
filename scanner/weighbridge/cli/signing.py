"""What the commands that sign share: with what, and that the signature is good before anybody gets it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.trusting import read_file
from weighbridge.errors import UsageError
from weighbridge.location import printable

if TYPE_CHECKING:
    from weighbridge.cli.options import F
    from weighbridge.evidence.base import Signature
    from weighbridge.evidence.bundle import Bundle
    from weighbridge.evidence.signers import Signer

# The password of a private key, for machines; people are asked.
VARIABLE: Final = "WEIGHBRIDGE_KEY_PASSWORD"
# The name of the signer in what a command has just made itself.
MADE: Final = "you"
_FILE: Final = click.Path(dir_okay=False, path_type=Path)

_OPTIONS: Final = (
    click.option(
        "--key", type=_FILE, metavar="PEM", help="The private key.  [default: that of `weighbridge key init`]"
    ),
    click.option(
        "--certificate",
        "certificates",
        type=_FILE,
        multiple=True,
        metavar="PEM",
        help="The certificate of the key, then those above it; repeatable.",
    ),
    click.option("--pkcs11", metavar="URI", help="A key on a token, such as pkcs11:token=NAME;id=%01."),
    click.option("--keyless", is_flag=True, help="Sign with the identity that a CI system or --identity-token gives."),
    click.option("--identity-token", type=_FILE, metavar="FILE", help="The identity token for --keyless."),
    click.option(
        "--sigstore",
        type=_FILE,
        metavar="FILE",
        help="Which sigstore signs keyless: its client configuration.  [default: the public one]",
    ),
)
# Bytes of an identity token, which has one or two thousand.
_MAX_TOKEN: Final = 64 << 10


def signer_options(command: F) -> F:
    """Add the options that say with what to sign; `signer_from` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def signer_from(options: dict[str, Any]) -> Signer:
    """Return who signs by the options: the user's own key without any.

    Raises UsageError when there is no such key, or the options make no sense together.
    """
    from weighbridge.evidence.signers import CertificateSigner, KeySigner, Pkcs11Signer

    named, certificates = options["key"], options["certificates"]
    ways = [name for name in ("key", "pkcs11", "keyless") if options[name]]
    if len(ways) > 1:
        raise UsageError(f"--{ways[0]} and --{ways[1]}: name one way to sign")
    if options["keyless"] or options["identity_token"] is not None or options["sigstore"] is not None:
        return _keyless(options)
    if options["pkcs11"] is not None and not certificates:
        return Pkcs11Signer(options["pkcs11"], lambda: _secret("PIN of the token"))
    if certificates and named is None:
        raise UsageError("--certificate goes with --key, the private key of the certificate")
    pem, where = _private_key(named)
    password = password_of(pem, where)
    if certificates:
        return CertificateSigner(pem, [_certificates(path) for path in certificates], password=password, where=where)
    return KeySigner(pem, password=password, where=where)


def _certificates(path: Path) -> bytes:
    """Return the text of a file of certificates; raise UsageError, with its name, when it holds none."""
    from weighbridge.evidence.certificates import load_pem
    from weighbridge.evidence.trust_entries import MAX_ROOT

    raw = read_file(path, MAX_ROOT)
    load_pem(raw, printable(str(path)))
    return raw


def _keyless(options: dict[str, Any]) -> Signer:
    """Return who signs with an identity token, which is never on the command line, where others could read it."""
    from weighbridge.evidence import keyless, trust_update
    from weighbridge.evidence.trust_entries import MAX_ROOT

    if not options["keyless"]:
        raise UsageError("--identity-token and --sigstore go with --keyless")
    path: Path | None = options["identity_token"]
    given = "" if path is None else read_file(path, _MAX_TOKEN).decode("utf-8", "replace").strip()
    token = given or keyless.ambient_token()
    instance: Path | None = options["sigstore"]
    config = trust_update.public() if instance is None else read_file(instance, MAX_ROOT)
    return keyless.SigstoreSigner(token, config, where=printable(str(instance or "sigstore")))


def check_made(signer: Signer, bundle: Bundle) -> Signature:
    """Return the signature in a bundle that the signer has just made; raise SignatureInvalid when it is not good."""
    from weighbridge.evidence import dsse
    from weighbridge.evidence.base import Method, Signature
    from weighbridge.evidence.dsse import Envelope
    from weighbridge.evidence.signers import CertificateSigner, KeySigner, Pkcs11Signer
    from weighbridge.refusals import SignatureInvalid

    if Method.SIGSTORE in bundle.methods:
        from weighbridge.evidence.keyless import SigstoreSigner

        if isinstance(signer, SigstoreSigner):
            return signer.check(bundle)
    if not isinstance(bundle.content, Envelope) or not isinstance(signer, KeySigner | CertificateSigner | Pkcs11Signer):
        raise SignatureInvalid(bundle.where, "the signer made something else than a signed statement")
    dsse.verify(bundle.content, signer.public_key, bundle.where)
    return Signature(
        method=Method.CERTIFICATE if isinstance(signer, CertificateSigner) else Method.KEY,
        signer=MADE,
        identity=signer.identity,
        payload_type=bundle.content.payload_type,
        payload=bundle.content.payload,
        bundle=bundle.digest,
    )


def _private_key(named: Path | None) -> tuple[bytes, str]:
    """Return the private key in PEM, and what errors call it."""
    from weighbridge.evidence import home

    path = named or home.key_path()
    return home.read_private(path), printable(str(path))


def password_of(pem: bytes, where: str) -> bytes | None:
    """Return the password of a key that is encrypted, asking a person for it when no variable has it."""
    if b"ENCRYPTED" not in pem:
        return None
    return _secret(f"Password of {where}").encode()


def _secret(what: str) -> str:
    """Return what opens a key: the variable has it, where nobody else can read it, or a person is asked."""
    given = os.environ.get(VARIABLE)
    return given if given is not None else ask(what, f"{VARIABLE} gives it")


def ask(what: str, otherwise: str, *, twice: bool = False) -> str:
    """Return what a person answers, or a program on standard input.

    Raises UsageError, which says what does `otherwise`, when nobody answers.
    """
    try:
        answer: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise  # a person has said no
        raise UsageError(f"{what}: nobody answers; {otherwise}") from error
    return answer
