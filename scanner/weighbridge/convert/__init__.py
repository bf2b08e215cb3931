"""Weights out of other containers into safetensors, bit for bit, without running anything.

A source plans (`plan`), the rules of the house are checked (`names`), the bytes are copied (`copy`), a second pass
right behind proves it (`proof`), and the file appears whole or not at all (`write`). No framework is imported, and
nothing unpickled.

`weighbridge.convert(source, destination)` converts: the package is called as the function of the same name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighbridge.convert.conversion import convert, listing, verify

__all__ = ["convert", "listing", "verify"]


class _Package(ModuleType):
    """A package that can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """See `conversion.convert`."""
        from weighbridge.convert.conversion import convert

        return convert(*arguments, **options)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in ("convert", "listing", "verify"):
        from weighbridge.convert import conversion

        return getattr(conversion, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
