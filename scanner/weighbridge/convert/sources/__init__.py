"""Every container that weights are converted from: one module and one line each."""

from __future__ import annotations

from typing import Final

from weighbridge.convert.sources import (
    arrays,
    flax,
    hdf5,
    numpy,
    safetensors,
    tensorflow,
    torch_legacy,
    torch_tar,
    torch_zip,
)
from weighbridge.convert.sources.base import Source

SOURCES: Final[tuple[Source, ...]] = (
    torch_zip.SOURCE,
    torch_legacy.SOURCE,
    torch_tar.SOURCE,
    safetensors.SOURCE,
    numpy.SOURCE,
    arrays.SOURCE,
    hdf5.SOURCE,
    flax.SOURCE,
    tensorflow.SOURCE,
)
