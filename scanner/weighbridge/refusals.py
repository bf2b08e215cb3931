"""The exceptions that refuse: evidence that is missing or wrong, and files that are not loaded.

Each class has a `code` that never changes, so that a program can tell them apart without reading a message; the exit
status of every one is 1.

* Refusal                     in `errors`; has `code`, `where`, `reason`, `fix`
  * EvidenceError             a signature, its signer or what it covers
    * SignatureMissing        SIG_MISSING            a required signature is not there
    * SignatureMalformed      SIG_MALFORMED          not the JSON, base64 or structure of a bundle
    * SignatureUnsupported    SIG_UNSUPPORTED        a media, payload, predicate or hash type that is not understood
    * SignatureMethod         SIG_METHOD             signed in another way than the trust policy wants
    * SignatureInvalid        SIG_INVALID            cryptography says no; `step` says where
    * SignerUntrusted         SIGNER_UNTRUSTED       good cryptography of somebody else
    * SignerChanged           SIGNER_CHANGED         another signer than the one that is locked
    * SignerExpired           SIGNER_EXPIRED         certificate or key outside its validity
    * TrustStale              TRUST_STALE            a trust root older than the trust policy allows
    * TrustCorrupt            TRUST_CORRUPT          a trust root that is missing or has another digest than is pinned
    * SourceUncovered         POLICY_NO_RULE         the trust policy has no rule for the source
    * ManifestInvalid         MANIFEST_INVALID       the signed list of files is unsafe or contradicts itself
    * ContentMismatch         CONTENT_MISMATCH       files changed, missing or not covered
    * UnsafeEntry             UNSAFE_ENTRY           a link, device, pipe or unspeakable name in the tree
    * ChangedDuringRead       CHANGED_DURING_READ    a file was altered while it was being hashed
    * BundleOlder             BUNDLE_OLDER           older than what an earlier bundle brought
    * OfflineError            OFFLINE                the network would be needed and is not allowed
    * NotApproved             APPROVAL_…             there is no approval that holds
      * ApprovalMissing       APPROVAL_MISSING
      * ApprovalMalformed     APPROVAL_MALFORMED
      * ApprovalUntrusted     APPROVAL_UNTRUSTED     signed by nobody who may approve
      * ApprovalExpired       APPROVAL_EXPIRED
      * ApprovalFailed        APPROVAL_FAILED        the verdict in it is not PASSED
      * ApprovalRevoked       APPROVAL_REVOKED       on the list of what is denied
      * ApprovalMismatch      APPROVAL_MISMATCH      of another model, policy or set of files
  * LoadError                 a file that is not loaded
    * DigestMismatch          LOAD_DIGEST            the bytes are not the approved ones
    * UnsupportedFormat       LOAD_FORMAT            approved or not, nothing here loads this format
    * MalformedHeader         LOAD_HEADER            a safetensors header that breaks a rule
    * ChangedDuringLoad       LOAD_CHANGED           the file changed while it was being read
    * RemoteCode              LOAD_CODE              the model brings Python or names code elsewhere
    * ConfigRefused           LOAD_CONFIG            a key of a configuration that names code or other files
    * ModeMissing             LOAD_MODE              the system or the file has not what the mode of loading needs
    * PickleRefused           LOAD_PICKLE            a pickle was about to be loaded where `guard` forbids it
    * IsolationMissing        LOAD_ISOLATION         a required layer of the sandbox is not to be had
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weighbridge.errors import Refusal
from weighbridge.location import printable

# How many files of each kind the message of a mismatch names.
NAMED: Final = 3


class EvidenceError(Refusal):
    """What was to be verified is missing, wrong or not trusted."""


class SignatureMissing(EvidenceError):
    """A required signature is not there."""

    code = "SIG_MISSING"
    usual_fix = "ask who should have signed for a signature"


class SignatureMalformed(EvidenceError):
    """The file is not the JSON, base64 or structure of a bundle."""

    code = "SIG_MALFORMED"
    usual_fix = "fetch the file again, or ask who signed for a new one"


class SignatureUnsupported(EvidenceError):
    """A media type, payload type, predicate type or hash that is not understood."""

    code = "SIG_UNSUPPORTED"
    usual_fix = "ask for a signature of a kind that docs/signing.md lists"


class SignatureMethod(EvidenceError):
    """The bundle is signed in another way than the trust policy wants."""

    code = "SIG_METHOD"
    usual_fix = "ask for a signature of the kind that the trust policy names, or correct the signer in it"


class SignatureInvalid(EvidenceError):
    """Cryptography says no; `step` names what failed: signature, certificate, sct, log, timestamp or payload."""

    code = "SIG_INVALID"
    usual_fix = "fetch the model and its signature again; if it is the same, believe neither"

    def __init__(self, where: str, reason: str, fix: str = "", *, step: str = "signature") -> None:
        super().__init__(where, reason, fix)
        self.step = step


class SignerUntrusted(EvidenceError):
    """Good cryptography of somebody who is not trusted; `actual` and `expected` are identities."""

    code = "SIGNER_UNTRUSTED"
    usual_fix = "find out who signed; the trust policy says whom to believe"

    def __init__(self, where: str, reason: str, fix: str = "", *, actual: str = "", expected: str = "") -> None:
        super().__init__(where, reason, fix)
        self.actual = actual
        self.expected = expected


class SignerChanged(EvidenceError):
    """Another signer than the one that the lock holds."""

    code = "SIGNER_CHANGED"
    usual_fix = "find out why before the new signer is locked"


class SignerExpired(EvidenceError):
    """A certificate or key outside its validity."""

    code = "SIGNER_EXPIRED"
    usual_fix = "ask for a signature by a certificate or key that is valid"


class TrustStale(EvidenceError):
    """A trust root is older than the trust policy allows."""

    code = "TRUST_STALE"
    usual_fix = "run `weighbridge trust update`"


class TrustCorrupt(EvidenceError):
    """A trust root is missing, unreadable or has another digest than the trust policy pins."""

    code = "TRUST_CORRUPT"
    usual_fix = "put the pinned file back, or fetch and pin a root with `weighbridge trust update`"


class SourceUncovered(EvidenceError):
    """The trust policy has no rule for the source, and the default is to deny."""

    code = "POLICY_NO_RULE"
    usual_fix = "write a rule for it into the trust policy"


class ManifestInvalid(EvidenceError):
    """The signed list of files is unsafe or contradicts itself."""

    code = "MANIFEST_INVALID"
    usual_fix = "ask who made the list for one that is right"


class ContentMismatch(EvidenceError):
    """The files are not those that were signed: paths that changed, that are missing and that nothing covers."""

    code = "CONTENT_MISMATCH"
    usual_fix = "fetch the model again"

    def __init__(
        self,
        where: str,
        *,
        changed: Iterable[str] = (),
        missing: Iterable[str] = (),
        extra: Iterable[str] = (),
        fix: str = "",
    ) -> None:
        self.changed, self.missing, self.extra = tuple(changed), tuple(missing), tuple(extra)
        kinds = (("changed", self.changed), ("missing", self.missing), ("not covered", self.extra))
        super().__init__(where, ", ".join(_named(kind, paths) for kind, paths in kinds if paths), fix)


def _named(kind: str, paths: tuple[str, ...]) -> str:
    """Return the first few paths and how many there are."""
    shown = ", ".join(printable(path) for path in paths[:NAMED])
    return f"{len(paths)} {kind} ({shown}{', …' if len(paths) > NAMED else ''})"


class UnsafeEntry(EvidenceError):
    """A symbolic link, device, pipe, socket or unspeakable name in the tree."""

    code = "UNSAFE_ENTRY"
    usual_fix = "remove it, or fetch the model into an empty folder"


class ChangedDuringRead(EvidenceError):
    """A file was altered while it was being hashed."""

    code = "CHANGED_DURING_READ"
    usual_fix = "let nothing write to the files, and try again"


class BundleOlder(EvidenceError):
    """A bundle from outside is older than what an earlier one brought."""

    code = "BUNDLE_OLDER"
    usual_fix = "ask for a newer bundle"


class OfflineError(EvidenceError):
    """The network would be needed to tell, and is not allowed."""

    code = "OFFLINE"
    usual_fix = "do without --offline, or fetch first what is needed"


class NotApproved(EvidenceError):
    """There is no approval that holds for what is to be loaded."""

    code = "APPROVAL_MISSING"
    usual_fix = "let the model through `weighbridge gate`, or approve it with `weighbridge approve`"


class ApprovalMissing(NotApproved):
    """There is no approval."""


class ApprovalMalformed(NotApproved):
    """What stands for the approval is none."""

    code = "APPROVAL_MALFORMED"
    usual_fix = "let the model through the gate again"


class ApprovalUntrusted(NotApproved):
    """The approval is signed by nobody who may approve, or names another verifier than the signer may speak for."""

    code = "APPROVAL_UNTRUSTED"
    usual_fix = "name who approved it in [approvers] of the trust policy, if that is meant"


class ApprovalExpired(NotApproved):
    """The approval is past its day."""

    code = "APPROVAL_EXPIRED"
    usual_fix = "let the model through the gate again"


class ApprovalFailed(NotApproved):
    """The verdict in the approval is not PASSED."""

    code = "APPROVAL_FAILED"
    usual_fix = "nothing may rest on it"


class ApprovalRevoked(NotApproved):
    """The tree or the approval is on the list of what is denied."""

    code = "APPROVAL_REVOKED"
    usual_fix = "nothing may load this model"


class ApprovalMismatch(NotApproved):
    """The approval is of another model, policy or set of files."""

    code = "APPROVAL_MISMATCH"
    usual_fix = "load the folder that was approved, or let this one through the gate"


class LoadError(Refusal):
    """A file is not loaded."""


class DigestMismatch(LoadError):
    """The bytes are not the approved ones: `tensor` (empty: the header or a file without any) and its `chunk`."""

    code = "LOAD_DIGEST"
    usual_fix = "fetch or approve the model again"

    def __init__(self, file: str, tensor: str = "", chunk: int = 0) -> None:
        part = f"tensor {printable(tensor)}, chunk {chunk}" if tensor else f"chunk {chunk}"
        super().__init__(printable(file), f"{part}: not the approved bytes", "fetch or approve the model again")
        self.file = file
        self.tensor = tensor
        self.chunk = chunk


class UnsupportedFormat(LoadError):
    """Nothing here loads this format, approved or not."""

    code = "LOAD_FORMAT"
    usual_fix = "convert it with `weighbridge convert`; docs/loading.md says what is loaded"


class MalformedHeader(LoadError):
    """A safetensors header that breaks `rule`."""

    code = "LOAD_HEADER"
    usual_fix = "fetch the model again, or ask its publisher for a file that keeps to the format"

    def __init__(self, where: str, reason: str, fix: str = "", *, rule: str = "") -> None:
        super().__init__(where, reason, fix)
        self.rule = rule


class ChangedDuringLoad(LoadError):
    """The file changed while it was being read."""

    code = "LOAD_CHANGED"
    usual_fix = "let nothing write to the files, and load again"


class RemoteCode(LoadError):
    """The model brings Python of its own or names code that is elsewhere."""

    code = "LOAD_CODE"
    usual_fix = "read the code; docs/loading.md says what an approval can allow"


class ConfigRefused(LoadError):
    """A key of a configuration that makes loaders run code or read other files than the approved ones."""

    code = "LOAD_CONFIG"
    usual_fix = "read what it names; `--allow` of the gate allows this value in these bytes"

    def __init__(self, where: str, key: str, reason: str, fix: str = "") -> None:
        super().__init__(where, f"{printable(key)}: {reason}", fix)
        self.key = key


class ModeMissing(LoadError):
    """The system, or the file, has not what the mode of loading needs; no other mode takes its place."""

    code = "LOAD_MODE"
    usual_fix = "name another mode (docs/loading.md)"


class PickleRefused(LoadError):
    """A pickle was about to be loaded where `weighbridge.guard` forbids it."""

    code = "LOAD_PICKLE"
    usual_fix = "convert it with `weighbridge convert`, and load that"


class IsolationMissing(LoadError):
    """A layer of the sandbox that is required is not to be had on this system."""

    code = "LOAD_ISOLATION"
    usual_fix = "run it where the layer is to be had; `weighbridge doctor` names those that are"
