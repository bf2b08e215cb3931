"""Reports: a verdict as text for people or as a document for programs. One module per report.

A module is imported when its report is asked for: starting must cost less than scanning a small file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weighbridge.report.base import Render


def _text() -> Render:
    from weighbridge.report import text

    return text.render


def _json() -> Render:
    from weighbridge.report import json

    return json.render


def _sarif() -> Render:
    from weighbridge.report import sarif

    return sarif.render


FORMATS: Final[dict[str, Callable[[], Render]]] = {"text": _text, "json": _json, "sarif": _sarif}
