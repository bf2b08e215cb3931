"""`weighbridge attest` and `weighbridge verify-attestation`: what a scan found and what was decided, signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weighbridge.cli.fetching import desk_from
from weighbridge.cli.judging import policy_from, policy_options
from weighbridge.cli.options import limit_options, rules_option
from weighbridge.cli.output import emit
from weighbridge.cli.place import Place
from weighbridge.cli.signing import signer_from, signer_options
from weighbridge.cli.trusting import read_file, trust_from, trust_options
from weighbridge.errors import UsageError
from weighbridge.location import printable
from weighbridge.report.base import counted

if TYPE_CHECKING:
    from weighbridge.attest import Attestation
    from weighbridge.policy import Verdict

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_KINDS: Final = ("scan", "decision")


@click.command()
@click.argument("path", type=Place(path_type=Path), metavar="PATH")
@click.option(
    "--type",
    "kind",
    type=click.Choice(_KINDS),
    default="scan",
    show_default=True,
    help="What the scan found in every file, or the decision alone, as a SLSA verification summary.",
)
@click.option("--output", type=_FILE, required=True, metavar="FILE", help="Where the signed statement goes.")
@click.option("--source", metavar="REFERENCE", help="Which model it is.  [default: PATH]")
@click.option("--verifier", metavar="URI", help="In whose name it is decided.  [default: this machine's user]")
@signer_options
@policy_options
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=1, metavar="N", help="Processes that share the scan.")
@rules_option
@limit_options
def attest(path: Path, kind: str, output: Path, **options: Any) -> int:
    """Scan PATH, and sign what was found as an in-toto statement about every file and the tree.

    The statement is signed whatever the verdict is: it says so. FILE is a sigstore bundle with a DSSE envelope, which
    `weighbridge verify-attestation` and other tools read. Without --key or --pkcs11 your own key signs.

    \b
    Examples:
      weighbridge attest models/name --output name.scan.json
      weighbridge attest models/name --type decision --policy strict --key gate.pem --output name.vsa.json

    Exit status: 0 signed, 2 wrong usage, 4 a file cannot be read.
    """
    from weighbridge.evidence.dsse import IN_TOTO
    from weighbridge.writing import write

    signer = signer_from(options)
    verdict = _scan(path, options)
    payload = _payload(verdict, path, kind, options)
    write(output.resolve(), [signer.sign(payload, IN_TOTO)])  # a link stays one
    files = counted(len(verdict.files), "file")
    emit([f"signed: {printable(str(path))}: {verdict.outcome.value}, {files}", f"  in {printable(str(output))}"])
    return 0


def _payload(verdict: Verdict, path: Path, kind: str, options: dict[str, Any]) -> bytes:
    from datetime import UTC, datetime

    from weighbridge import attest as attestations
    from weighbridge.cli.approving import verifier_from

    now, source = datetime.now(UTC), options["source"] or path.absolute().as_uri()
    if kind == "scan":
        return attestations.scan_result(verdict, at=now, source=source)
    return attestations.decision(
        verdict,
        attestations.manifest_of(verdict),
        at=now,
        verifier=verifier_from(options),
        resource=source,
    )


def _scan(path: Path, options: dict[str, Any]) -> Verdict:
    """Return the verdict on a file or on a folder as an artifact."""
    from weighbridge.approve import RESERVED
    from weighbridge.pipeline import scan_targets
    from weighbridge.sources import scan_folder
    from weighbridge.walk import Target

    policy, desk = policy_from(options, [path]), desk_from(options)
    if path.is_dir():
        return scan_folder(path, desk, beside=RESERVED, policy=policy, jobs=options["jobs"])
    return scan_targets([Target(name=path.name, path=str(path), named=True)], desk, policy=policy)


@click.command("verify-attestation")
@click.argument("bundle", type=Place(kind="file", path_type=Path), metavar="FILE")
@click.argument("path", type=Place(path_type=Path), required=False, metavar="[PATH]")
@trust_options
@click.option("--signer", metavar="NAME", help="Who of the trust policy has to have signed.  [default: any approver]")
@click.option("--type", "kind", type=click.Choice(_KINDS), help="What has to be stated.  [default: anything]")
@click.option("--passed", is_flag=True, help="Refuse a scan or a decision that is not pass.")
@click.option("--payload", is_flag=True, help="Print the statement and nothing else, when it is verified.")
def verify_attestation(bundle: Path, path: Path | None, **options: Any) -> int:
    """Say who signed the statement in FILE, and what it says; with PATH, that it is about exactly the files there.

    Who is believed is in the trust policy; --key, --certificate-chain or --identity name one signer instead.

    \b
    Examples:
      weighbridge verify-attestation name.scan.json models/name --key gate.pub.pem --passed
      weighbridge verify-attestation name.vsa.json --trust trust.toml --signer gate --type decision

    Exit status: 0 verified, 1 refused, 2 the trust policy or the options are wrong, 4 a file cannot be read.
    """
    found = _verified(bundle, options, path)
    where = printable(str(bundle))
    if path is not None:
        from weighbridge import attest as attestations

        attestations.compare(found.statement, _manifest(path), where)
    if options["passed"]:
        _refuse_failed(found, where)
    if options["payload"]:
        emit([found.signature.payload.decode("utf-8")])
        return 0
    emit(_text(found, where, path))
    return 0


def _verified(path: Path, options: dict[str, Any], judged: Path | None) -> Attestation:
    """Return the statement in a bundle, signed by somebody who is believed."""
    from datetime import UTC, datetime

    from weighbridge import attest as attestations
    from weighbridge.evidence import bundle, verifier
    from weighbridge.evidence.statement import SUMMARY
    from weighbridge.refusals import EvidenceError, SignerUntrusted

    where = printable(str(path))
    trust = trust_from(options, judged=judged)
    parsed = bundle.parse(read_file(path, bundle.LIMIT), where)
    names = [options["signer"]] if options["signer"] else [one.signer for one in trust.approvers.values()]
    names = names or list(trust.signers)
    if unknown := [name for name in names if name not in trust.signers]:
        raise UsageError(f"--signer {printable(unknown[0])}: {trust.where} names no such signer")
    kind = {"scan": attestations.SCAN_RESULT, "decision": SUMMARY}.get(options["kind"], "")
    refused: EvidenceError | None = None
    for name in dict.fromkeys(names):
        try:
            signature = verifier.verify(parsed, trust.signers[name], trust, now=datetime.now(UTC), where=where)
        except EvidenceError as error:
            refused = error
        else:
            found = attestations.read(signature, where, kind=kind)
            attestations.check_verifier(found, trust, where)
            return found
    raise refused or SignerUntrusted(where, f"{trust.where} names nobody who could have signed it", "--key names one")


def _manifest(path: Path) -> Any:
    """Return what is at a path now."""
    from weighbridge.approve import RESERVED
    from weighbridge.artifact import Manifest
    from weighbridge.evidence.coverage import Coverage
    from weighbridge.evidence.measure import Plan
    from weighbridge.evidence.tree import Tree

    with Tree(path) as tree:
        measured = tree.measure({one: Plan() for one in tree.paths if one not in RESERVED})
    return Manifest(entries=Coverage.of(measured).entries)


def _refuse_failed(found: Attestation, where: str) -> None:
    """Raise ApprovalFailed unless the statement says pass."""
    from weighbridge.attest import outcome
    from weighbridge.evidence.statement import PASSED
    from weighbridge.policy import Outcome
    from weighbridge.refusals import ApprovalFailed

    said = outcome(found.statement)
    if said not in (Outcome.PASS.value, PASSED):
        raise ApprovalFailed(where, f"it says {printable(said) or 'nothing'}, not pass", "nothing may rest on it")


def _text(found: Attestation, where: str, path: Path | None) -> list[str]:
    from weighbridge.attest import outcome

    stated, signature = found.statement, found.signature
    said = outcome(stated)
    subjects = counted(len(stated.subjects), "subject")
    return [
        f"verified: {where}: {printable(stated.predicate_type)}{f', {printable(said)}' if said else ''}",
        f"  signed by {printable(signature.who)}",
        f"  about {subjects}{f', which are the files of {printable(str(path))}' if path is not None else ''}",
    ]
