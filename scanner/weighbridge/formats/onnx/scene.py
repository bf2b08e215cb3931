"""What every part of the analysis needs: the bytes, the walk over them, and what the scan offers."""

from __future__ import annotations

from typing import Final

from weighbridge.facts import Anomaly
from weighbridge.formats.base import Context
from weighbridge.formats.onnx.walker import Walk
from weighbridge.location import Location
from weighbridge.reader import Reader
from weighbridge.records import dataclass

SHOWN: Final = 200  # characters of a name from the file that a detail repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One model under analysis."""

    reader: Reader
    context: Context
    walk: Walk

    def at(self, offset: int) -> Location:
        """Return the location of a byte of the model."""
        return self.reader.at(offset)

    def anomaly(self, code: str, offset: int, detail: str) -> Anomaly:
        """Return an anomaly."""
        return Anomaly(location=self.reader.at(offset), code=code, detail=detail)


def text(value: str | bytes) -> str:
    """Return a text of the format, which the library gives as bytes when it is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def shown(value: str | bytes) -> str:
    """Return a text as a detail repeats it: quoted and cut."""
    found = text(value)
    return repr(found if len(found) <= SHOWN else found[:SHOWN] + "…")
