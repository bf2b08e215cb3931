"""Reports: a verdict as text for people or as a document for programs. One module per report.

A module is imported when its report is asked for: starting must cost less than scanning a small file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weighbridge.report.base import Render


def _text() -> Render:
    from weighbridge.report.text import render

    return render


def _json() -> Render:
    from weighbridge.report.json import render

    return render


def _sarif() -> Render:
    from weighbridge.report.sarif import render

    return render


FORMATS: Final[dict[str, Callable[[], Render]]] = {"text": _text, "json": _json, "sarif": _sarif}
