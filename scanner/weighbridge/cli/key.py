"""`weighbridge key`: the key of one's own, and what a trust policy says of keys and certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from weighbridge.cli.output import emit
from weighbridge.errors import DocumentError, UsageError
from weighbridge.location import printable

_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.group()
def key() -> None:
    """Make and show keys.

    Your own key lies in the folder of your settings (WEIGHBRIDGE_CONFIG). What it approves can be loaded on this
    machine, unless a trust policy says otherwise.

    \b
    Examples:
      weighbridge key init
      weighbridge key show
      weighbridge key export --output release.pub
    """


@key.command()
@click.argument("path", type=_FILE, required=False, metavar="[FILE]")
@click.option("--encrypt", is_flag=True, help="Encrypt it with a password: WEIGHBRIDGE_KEY_PASSWORD, or asked for.")
def init(path: Path | None, *, encrypt: bool) -> None:
    """Make a key, your own or one in FILE, and write its public half beside it. Nothing is ever overwritten.

    It is on P-256 (ECDSA), which `model_signing` verifies too. Only you may read the file.

    \b
    Examples:
      weighbridge key init
      weighbridge key init release.pem --encrypt
    """
    from weighbridge.evidence import home

    private = path or home.key_path()
    public = home.public_of(private)
    home.make_key(private, public, _new_password() if encrypt else None)
    spki = _public(home.read_public(public), public)
    emit([f"private key  {printable(str(private))}", f"public key   {printable(str(public))}", f"sha256_spki  {spki}"])
    if path is None:
        emit([_for_what(spki), "Keep a copy of it where nobody else can read it."])


def _for_what(spki: str) -> str:
    """Return what the user's own key is good for, which a trust policy may have decided before it was there."""
    from weighbridge.evidence import trust_policy

    try:
        trust = trust_policy.default()
    except DocumentError as error:
        return f"The trust policy, which says what it is good for, is wrong: {error}"
    approving = [trust.signers[one.signer] for one in trust.approvers.values()]
    if spki in {trust_policy.bare(one.sha256_spki) for one in approving}:
        return "What this key approves can be loaded on this machine."
    entry = f'{trust_policy.OWN} = {{ signer = "{trust_policy.OWN}", verifier_id = "{trust_policy.OWN_VERIFIER}" }}'
    return f"{trust.where} does not name it: under [approvers], {entry} lets be loaded here what it approves."


@key.command()
@click.argument("path", type=_FILE, required=False, metavar="[FILE]")
def show(path: Path | None) -> None:
    """Show what a trust policy says of a public key, or of the certificates, in FILE; by default of your own key.

    \b
    Examples:
      weighbridge key show
      weighbridge key show release.pub
      weighbridge key show signer-certificate.pem
    """
    from weighbridge.evidence import home

    file = path or home.public_key_path()
    raw = home.read_public(file)
    emit(_certificates(raw, file) if b"-----BEGIN CERTIFICATE-----" in raw else _key(raw, file))


@key.command()
@click.option("--key", "private", type=_FILE, metavar="FILE", help="The private key.  [default: your own]")
@click.option("--output", type=_FILE, metavar="FILE", help="Write there instead of to standard output.")
def export(private: Path | None, output: Path | None) -> None:
    """Write the public half of a private key, for those who verify.

    \b
    Example:
      weighbridge key export --output release.pub
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from weighbridge.cli.signing import password_of
    from weighbridge.evidence import home
    from weighbridge.evidence.signers import load_private

    path = private or home.key_path()
    pem, where = home.read_private(path), printable(str(path))
    public = load_private(pem, password_of(pem, where), where).public_key()
    text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if output is None:
        emit(text.decode("ascii").splitlines())
    else:
        home.write_new(output, text, mode=0o644)


def _key(raw: bytes, path: Path) -> Iterator[str]:
    from weighbridge.evidence.trust_writing import key_lines

    if b"PRIVATE KEY-----" in raw:
        raise UsageError(f"{printable(str(path))}: a private key; `weighbridge key export` writes its public half")
    yield from key_lines("NAME", str(path), _public(raw, path)).splitlines()


def _public(raw: bytes, path: Path) -> str:
    """Return the digest that a public key is known by."""
    from weighbridge.evidence import keys
    from weighbridge.refusals import SignatureUnsupported

    where = printable(str(path))
    try:
        return keys.key_digest(keys.load_public(raw, where)).value
    except SignatureUnsupported as error:
        raise UsageError(f"{where}: {error.reason}") from error


def _certificates(raw: bytes, path: Path) -> Iterator[str]:
    """Yield what is pinned of a file of certificates, and the lines of the first one's holder."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from weighbridge.digest import Digest
    from weighbridge.evidence import certificates
    from weighbridge.evidence.trust_writing import certificate_lines

    found = certificates.load_pem(raw, printable(str(path)))
    yield f"# sha256 of the file, for a root: {Digest.of(raw).value}"
    for one in found:
        days = f"{one.not_valid_before_utc:%Y-%m-%d} to {one.not_valid_after_utc:%Y-%m-%d}"
        digest = Digest.of(one.public_bytes(Encoding.DER)).value
        yield f"# {printable(certificates.subject_of(one))}, {days}, cert_sha256 {digest}"
    yield from certificate_lines("NAME", "ROOT", certificates.subject_of(found[0])).splitlines()


def _new_password() -> bytes:
    from weighbridge.cli.signing import VARIABLE, ask

    given = os.environ.get(VARIABLE)
    if given is None:
        given = ask("Password", f"{VARIABLE} gives it", twice=True)
    if not given:
        raise UsageError("an empty password encrypts nothing")
    return given.encode()
