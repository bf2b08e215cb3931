"""Whether the pickled state of a picture of Pillow has the pixels that its mode and size ask memory for.

`Image.__setstate__` takes memory for the size that the state names before it looks at the pixels, and makes bytes of
whatever stands for the palette.

Source: PIL/Image.py, `Image.__getstate__` and `__setstate__`, Pillow 5 to 13.
"""

from __future__ import annotations

from typing import Final

from weighbridge.symbols import Call, Dict, Span, Value

# Bits of a pixel as `Image.tobytes` packs them, by mode; rows begin at whole bytes.
_BITS: Final = {
    "1": 1,
    "L": 8,
    "P": 8,
    "LA": 16,
    "PA": 16,
    "La": 16,
    "I;16": 16,
    "I;16L": 16,
    "I;16B": 16,
    "RGB": 24,
    "YCbCr": 24,
    "HSV": 24,
    "LAB": 24,
    "RGBA": 32,
    "RGBa": 32,
    "RGBX": 32,
    "CMYK": 32,
    "I": 32,
    "F": 32,
}
_PALETTE: Final = 1024  # numbers at most: 256 colours of four


def holds_its_pixels(state: Value) -> bool:
    """Tell whether a state is what Pillow writes, pixels and all; the pixels are a literal of the stream."""
    if type(state) is not list or not 5 <= len(state) <= 8:
        return False
    info, mode, size, palette, pixels = state[:5]
    if type(info) is not Dict or type(mode) is not str or mode not in _BITS or type(size) is not tuple:
        return False
    if len(size) != 2 or not all(type(part) is int and 0 < part < 1 << 24 for part in size):
        return False
    needed = size[1] * ((size[0] * _BITS[mode] + 7) // 8)
    return _length(pixels) == needed and _is_palette(palette) and all(map(_is_plain, state[5:]))


def _length(pixels: Value) -> int:
    """Return how many bytes a literal has, also as protocols without bytes write it, -1 when it is none."""
    if type(pixels) is Call and pixels.subject == "_codecs.encode" and type(pixels.arguments) is tuple:
        text = pixels.arguments[0] if pixels.arguments else None  # in Latin-1, or the call is not covered itself
        return len(text) if type(text) is str else -1
    if type(pixels) is Span:
        return -1 if pixels.kind == "str" else pixels.size
    return len(pixels) if type(pixels) is bytes else -1


def _is_palette(palette: Value) -> bool:
    if palette is None:
        return True
    if type(palette) is bytes:
        return len(palette) <= _PALETTE
    return (
        type(palette) is list
        and len(palette) <= _PALETTE
        and all(type(part) is int and 0 <= part <= 255 for part in palette)
    )


def _is_plain(part: Value) -> bool:
    """Tell whether what is behind the pixels is plain: the name of a file, and the layers of a JPEG."""
    if type(part) is list or type(part) is tuple:
        return len(part) <= _PALETTE and all(type(one) is tuple and set(map(type, one)) <= {int, str} for one in part)
    return part is None or type(part) in (int, str)
