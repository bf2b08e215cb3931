"""Registries: references to artifacts. One module per kind of registry, found by the scheme of the reference.

A module is imported when a reference names its scheme: scanning a local file must not pay for a network client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weighbridge.registries.base import Registry, Settings

Make = Callable[[Settings], Registry]

SCHEMES: Final[dict[str, Callable[[], Make]]] = {}


def is_reference(text: str) -> bool:
    """Tell whether `text` names a model in a registry rather than a path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def registry(reference: str, settings: Settings) -> Registry:
    """Return the registry that a reference belongs to; `is_reference` must hold."""
    return SCHEMES[reference.partition("://")[0].lower()]()(settings)
