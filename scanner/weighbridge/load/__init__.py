"""The loader: nothing is loaded that was not approved, byte for byte.

`weighbridge.load(path)` gives tensors and `weighbridge.open(path)` a handle that reads them when they are taken; the
package is called as the function of the same name. The steps are in `loading`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighbridge.load.handle import Handle
    from weighbridge.load.loading import load, open

__all__ = ["Handle", "load", "open"]


class _Package(ModuleType):
    """A package that can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """See `loading.load`."""
        from weighbridge.load.loading import load

        return load(*arguments, **options)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in ("load", "open"):
        from weighbridge.load import loading

        return getattr(loading, name)
    if name == "Handle":
        from weighbridge.load.handle import Handle

        return Handle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
