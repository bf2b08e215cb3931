"""Loading approved models for jax. Skipped where jax is not installed."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from loading import Part, approved_folder, packed

import weighbridge
from weighbridge.errors import UsageError

jax = pytest.importorskip("jax")


pytestmark = pytest.mark.usefixtures("own_places")


def test_arrays_come_bit_for_bit_and_are_never_made_narrower(tmp_path: Path) -> None:
    half, single = np.arange(6).astype(ml_dtypes.bfloat16), np.arange(4, dtype="f4").reshape(2, 2)
    parts = {"h": Part("BF16", [6], half.tobytes()), "s": Part("F32", [2, 2], single.tobytes())}
    approved_folder(tmp_path / "m", {"m.safetensors": packed(parts)})
    found = weighbridge.load(tmp_path / "m", framework="jax", device="cpu")
    assert all(isinstance(one, jax.Array) for one in found.values())
    assert np.array_equal(np.asarray(found["h"]), half)
    assert np.array_equal(np.asarray(found["s"]), single)
    with weighbridge.open(tmp_path / "m", framework="flax") as handle:
        assert np.array_equal(np.asarray(handle.get_slice("s")[1:]), single[1:])

    approved_folder(tmp_path / "w", {"m.safetensors": packed({"d": Part("F64", [1], bytes(8))})})
    with pytest.raises(UsageError, match="narrower"):
        weighbridge.load(tmp_path / "w", framework="jax")
    with pytest.raises(UsageError, match="abacus"):
        weighbridge.load(tmp_path / "m", framework="jax", device="abacus")
