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


def _html() -> Render:
    from weighbridge.report.html import render

    return render


def _markdown() -> Render:
    from weighbridge.report.markdown import render

    return render


def _github() -> Render:
    from weighbridge.report.github import render

    return render


def _gitlab_sast() -> Render:
    from weighbridge.report.gitlab_sast import render

    return render


def _gitlab_codequality() -> Render:
    from weighbridge.report.gitlab_codequality import render

    return render


def _junit() -> Render:
    from weighbridge.report.junit import render

    return render


def _openvex() -> Render:
    from weighbridge.report.openvex import render

    return render


FORMATS: Final[dict[str, Callable[[], Render]]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "html": _html,
    "markdown": _markdown,
    "github": _github,
    "gitlab-sast": _gitlab_sast,
    "gitlab-codequality": _gitlab_codequality,
    "junit": _junit,
    "openvex": _openvex,
}
# Those that show `Detail`, which a scan makes only for them.
DETAILED: Final = frozenset({"html"})
