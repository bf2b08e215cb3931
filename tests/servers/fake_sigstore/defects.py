"""The ways in which a keyless signature of the fake can be wrong, one at a time."""

from __future__ import annotations

from enum import StrEnum, auto


class Defect(StrEnum):
    """What is wrong with a bundle; everything else about it is as it should be."""

    # The certificate.
    UNKNOWN_CA = auto()
    FORGED_CA = auto()  # it bears the name of the right authority, and is signed by another key
    EXPIRED = auto()  # an hour before the signature
    NOT_YET_VALID = auto()
    WRONG_EKU = auto()  # for TLS clients
    NO_EKU = auto()
    NO_DIGITAL_SIGNATURE = auto()
    IS_CA = auto()
    TWO_IDENTITIES = auto()
    NO_IDENTITY = auto()
    ISSUERS_DIFFER = auto()  # the old and the new extension name different issuers
    NO_ISSUER = auto()
    GARBLED_ISSUER = auto()
    RSA_KEY = auto()
    GARBLED_CERTIFICATE = auto()
    # The signed certificate timestamp.
    NO_SCT = auto()
    SCT_OTHER_KEY = auto()
    SCT_OTHER_CERTIFICATE = auto()
    TWO_SCTS = auto()
    # The entry of the transparency log.
    NO_ENTRY = auto()
    TWO_ENTRIES = auto()
    NO_PROOF = auto()
    NO_CHECKPOINT = auto()
    BAD_PROOF = auto()
    PROOF_OF_OTHER_ENTRY = auto()
    CHECKPOINT_OTHER_KEY = auto()
    CHECKPOINT_OTHER_ROOT = auto()
    GARBLED_CHECKPOINT = auto()
    BAD_PROMISE = auto()
    NO_PROMISE = auto()
    LOG_TIME_MOVED = auto()
    LOGGED_OTHER_PAYLOAD = auto()
    LOGGED_OTHER_SIGNATURE = auto()
    LOGGED_OTHER_CERTIFICATE = auto()
    UNKNOWN_LOG = auto()
    # The timestamp.
    NO_TIMESTAMP = auto()
    TIMESTAMP_OTHER_MESSAGE = auto()
    TIMESTAMP_OTHER_AUTHORITY = auto()
    TIMESTAMP_OUTSIDE = auto()  # an hour after the signature
    TIMESTAMP_TWICE = auto()
    GARBLED_TIMESTAMP = auto()
    # The envelope, or the signature over a file.
    OTHER_PAYLOAD = auto()
    OTHER_KEY = auto()
    NO_SIGNATURE = auto()
    TWO_SIGNATURES = auto()


class Flaw(StrEnum):
    """What is wrong with a trust root: a service that was retired before the signature, or is missing."""

    RETIRED_CA = auto()
    RETIRED_LOG = auto()
    RETIRED_CT_LOG = auto()
    RETIRED_TSA = auto()
    FUTURE_CA = auto()
    NO_LOGS = auto()
    NO_CA = auto()
    NO_CT_LOG = auto()
    NO_TSA = auto()
