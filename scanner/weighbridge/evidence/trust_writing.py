"""Text of trust policies: one to begin with, and the lines of a signer."""

from __future__ import annotations

import json
from typing import Final

from weighbridge.evidence.trust_policy import OWN, OWN_VERIFIER

_HEAD: Final = """\
# Whom to believe about which model (docs/trust.md). Everything is denied that is not named here.
version = 1
default = "deny"
"""
_RULES: Final = """
# What a model needs, by the pattern of its source; the most specific pattern decides.
# [[rules]]
# source = "hf://acme/**"
# require = ["acme-ci"]
# missing = "deny"

# The public instance of sigstore; `weighbridge trust update` fetches its trusted root and pins what it fetched.
# [roots.public]
# type = "sigstore"
# tuf = "https://tuf-repo-cdn.sigstore.dev"
# trusted_root = "roots/public.json"
# sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
# max_age_days = 120
# updated = 2026-01-01

# A keyless signer: an identity of sigstore, always with who vouches for it.
# [signers.acme-ci]
# method = "sigstore"
# root = "public"
# issuer = "https://token.actions.githubusercontent.com"
# source_repository = "https://github.com/acme/models"
# workflow = ".github/workflows/sign.yml"
# ref = "refs/heads/main"
"""
_OWN: Final = f"""
# Your own key, made by `weighbridge key init`: what it approves can be loaded on this machine.
{{lines}}
[approvers]
{OWN} = {{{{ signer = "{OWN}", verifier_id = "{OWN_VERIFIER}" }}}}
"""


def quoted(text: str) -> str:
    """Return a TOML string; JSON's differ from it in one character alone, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_lines(name: str, public_key: str, spki: str) -> str:
    """Return the lines of a signer with a key."""
    return f'[signers.{name}]\nmethod = "key"\npublic_key = {quoted(public_key)}\nsha256_spki = "{spki}"\n'


def certificate_lines(name: str, root: str, subject: str) -> str:
    """Return the lines of a signer with a certificate."""
    return f'[signers.{name}]\nmethod = "certificate"\nroot = {quoted(root)}\nsubject = {quoted(subject)}\n'


def draft(own: tuple[str, str] | None) -> str:
    """Return a policy to begin with, which denies everything but what one's own key (its path, its digest) approves."""
    mine = _OWN.format(lines=key_lines(OWN, *own)) if own else ""
    return _HEAD + mine + _RULES
