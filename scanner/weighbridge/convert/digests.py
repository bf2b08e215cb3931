"""The digest of a tensor: the same wherever it is kept.

It is the sha256 of one line of ASCII, `<dtype> <side>x<side>…` and a newline, and the tensor's bytes in C order and
little-endian. `<dtype>` is safetensors' word; a tensor without sides has nothing behind the space. An approval that
names such digests survives another container, other shards and another order of tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weighbridge.convert.blocks import blocks
from weighbridge.convert.plan import PlannedTensor
from weighbridge.convert.sources.base import Store
from weighbridge.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash


def begun(tensor: PlannedTensor) -> _Hash:
    """Return the hash of a tensor of which its bytes are still to come."""
    return hashlib.sha256(f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}\n".encode("ascii"))


def digest(stores: Sequence[Store], tensor: PlannedTensor) -> Digest:
    """Return the digest of a planned tensor, read from its source."""
    found = begun(tensor)
    for block in blocks(stores, tensor):
        found.update(block)
    return Digest("sha256", found.hexdigest())
