"""Find out what a model file would do before anybody loads it.

`weighbridge.scan(paths)` and `weighbridge.convert(source, destination)` are what the command line calls;
`weighbridge.load(path)` and `weighbridge.open(path)` give tensors of approved models, and nothing else. Nothing here is
imported until it is asked for, because starting must cost less than scanning a small file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weighbridge.version import __version__ as __version__

if TYPE_CHECKING:
    from weighbridge import convert
    from weighbridge.guarding import guard
    from weighbridge.isolation import lockdown
    from weighbridge.load.checkpoint import load_checkpoint
    from weighbridge.load.loading import load, open
    from weighbridge.load.onnx import load_onnx
    from weighbridge.pipeline import scan

__all__ = ["__version__", "convert", "guard", "load", "load_checkpoint", "load_onnx", "lockdown", "open", "scan"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name == "scan":
        from weighbridge.pipeline import scan

        return scan
    if name == "convert":
        import weighbridge.convert as converting

        return converting
    if name == "load":
        import weighbridge.load as loading

        return loading
    if name == "open":
        from weighbridge.load.loading import open

        return open
    if name == "load_checkpoint":
        from weighbridge.load.checkpoint import load_checkpoint

        return load_checkpoint
    if name == "load_onnx":
        from weighbridge.load.onnx import load_onnx

        return load_onnx
    if name == "guard":
        from weighbridge.guarding import guard

        return guard
    if name == "lockdown":
        from weighbridge.isolation import lockdown

        return lockdown
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
