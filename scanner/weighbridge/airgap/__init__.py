"""Carry rules, a trust policy with its roots and keys, and approvals to where there is no network: one signed file.

The file is a tar that has one form only. Its first member, `bundle.json`, is a sigstore bundle whose envelope holds an
in-toto statement with the sha256 and the size of every file; the files follow in the order of their paths:

    bundle.json
    approvals/<sha256 of the tree>/approval.json, approval.leaves, weighbridge.lock
    rules/…                                   as `--rules` takes them
    trust/trust.toml, trust/…                 the trust policy, and the files that it names

No tar is parsed when one comes in: after the signature is verified, every byte between the files has to be what is
written for the signed list, so that no name, link or size of the tar can say anything else. Whether rules, trust policy
and approvals hold is for those who read them later to ask; that they can be read is made sure of here.

Source: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar), https://in-toto.io/Statement/v1.
"""

from __future__ import annotations

from weighbridge.airgap.cargo import Cargo as Cargo
from weighbridge.airgap.collecting import collect as collect
from weighbridge.airgap.folder import held as held
from weighbridge.airgap.folder import install as install
from weighbridge.airgap.form import PREDICATE as PREDICATE
from weighbridge.airgap.form import Received as Received
from weighbridge.airgap.form import pack as pack
from weighbridge.airgap.form import read as read
