"""Our own report in JSON (`report.json`), which tells of names that a model has and names none itself.

The gate writes one into its folder, and a folder that passed has to pass once more as it lies. A document is such a
report when every key in it, at any depth, is one that reports have: no loader imports, runs or opens what stands under
these.

Source: docs/schema/verdict-1.schema.json
"""

from __future__ import annotations

import re
from typing import Any, Final

SCHEMA: Final = "urn:weighbridge:verdict:1"
_TOP: Final = frozenset(
    "schema weighbridge outcome source triage policy rules_digest rules coverage files findings unknowns gaps unmet "
    "evidence history waived stale_waivers excluded opinions".split()
)
_KEYS: Final = _TOP | frozenset(
    # of the triage, the policy, rules and their references
    "fetched size requests nothing_found name fail_at digest title severity description remediation references cwe "
    "atlas owasp advisories urls "
    # of files, findings, unknowns, gaps and what is not met
    "parsed inert unexamined path formats quarantine rule location fact repeated blocking members offset text kind "
    "subject form spelled reason limit code where fix "
    # of evidence, history, waivers and opinions
    "format signer method identity issuer signed_at covered uncovered what who when note item waiver why approver "
    "expires by says details".split()
)
_RULE: Final = re.compile(r"[A-Z]{3}[0-9]{3}")


def is_verdict(tree: Any) -> bool:
    """Tell whether a document is a report, and nothing else besides."""
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA or tree.keys() != _TOP:
        return False
    waiting: list[Any] = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not all(key in _KEYS or _RULE.fullmatch(key) for key in one):
                return False
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return True
