"""How long to wait before a request is repeated: what the server asks for, or exponential backoff with jitter.

RFC 9110 §10.2.3 (Retry-After) and draft-ietf-httpapi-ratelimit-headers (RateLimit), which the Hub sends.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})  # answers that another attempt may change
MAX_WAIT: Final = 310.0  # seconds; the Hub's windows last five minutes
_FIRST: Final = 0.5  # seconds before the first repetition, doubled with each further one
_LONGEST: Final = 30.0  # seconds between attempts when the server asks for nothing
_REMAINING: Final = re.compile(r"\br\s*=\s*(\d{1,9})\s*;\s*t\s*=\s*(\d{1,9})")


def asked(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, or None."""
    if match := _REMAINING.search(headers.get("ratelimit", "")):
        remaining, reset = int(match[1]), int(match[2])
        if not remaining:
            return reset + 1.0  # whole seconds, rounded down by the server
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():
        return float(after[:9])
    return _until(after) if after else None


def backoff(attempt: int) -> float:
    """Return the seconds to wait after attempt `attempt` (counted from 0), between half of the step and all of it."""
    step = min(_LONGEST, _FIRST * 2.0 ** min(attempt, 16))
    return step * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients, keeps no secret


def _until(date: str) -> float | None:
    """Return the seconds until an HTTP date, or None when it is none."""
    from email.utils import parsedate_to_datetime

    try:
        then = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    now = datetime.now(UTC)
    return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp())
