"""Write the files of `tests/checkpoint_files`, each with the library whose format it is, and what is in it as `.npz`.

`python tools/checkpoint_files.py`, where joblib, paddlepaddle, flax, keras and tensorflow are installed; a part whose
library is not is left as it is. The files are small, and tests read them without those libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "checkpoint_files"


def _write(name: str, arrays: Mapping[str, Any]) -> None:
    held: dict[str, Any] = {key: np.asarray(array) for key, array in arrays.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **held)


def _arrays() -> dict[str, Any]:
    """Return arrays of several types and orders, one of them large enough to be kept apart."""
    generator = np.random.default_rng(7)
    return {
        "weight": generator.random((7, 5), dtype=np.float32),
        "bias": np.arange(5, dtype=np.float64),
        "fortran": np.asfortranarray(generator.random((4, 3)).astype(np.float16)),
        "large": generator.integers(0, 255, (100, 60)).astype(np.uint8),
        "mask": np.array([True, False, True]),
        "empty": np.zeros((0, 3), np.float32),
        "single": np.array(2.5, np.float32),
        "complex": np.array([1 + 2j], np.complex64),
    }


def _joblib() -> None:
    import joblib

    arrays = _arrays()
    _write("joblib", arrays)
    joblib.dump({**arrays, "name": "x", "steps": [1, 2]}, FOLDER / "state.joblib")
    for kind, level in (("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump({**arrays, "name": "x", "steps": [1, 2]}, FOLDER / f"state-{kind}.joblib", compress=(kind, level))


def _paddle() -> None:
    import paddle

    layer = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.LayerNorm(4))
    state = layer.state_dict()
    _write("paddle", {name: tensor.numpy() for name, tensor in state.items()})
    for protocol in (2, 4):
        paddle.save(state, str(FOLDER / f"linear-p{protocol}.pdparams"), protocol=protocol)
    paddle.save({"model": state, "step": 3}, str(FOLDER / "nested.pdparams"))


def _flax() -> None:
    import jax.numpy as jnp
    from flax import serialization

    params: dict[str, Any] = {
        "Dense_0": {"kernel": jnp.arange(12, dtype=jnp.float32).reshape(3, 4), "bias": jnp.ones(4, jnp.bfloat16)},
        "scale": jnp.float16(2.5),
        "ids": jnp.array([1, 2, 3], jnp.int32),
    }
    tree = {"params": params, "step": 3, "z": 1 + 2j}
    (FOLDER / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    _write(
        "flax",
        {
            "params.Dense_0.kernel": params["Dense_0"]["kernel"],
            "params.Dense_0.bias": np.asarray(params["Dense_0"]["bias"]).view(np.uint16),
            "params.scale": params["scale"],
            "params.ids": params["ids"],
        },
    )
    serialization.MAX_CHUNK_SIZE = 64
    big = {"w": np.arange(100, dtype=np.float32).reshape(20, 5), "b": np.arange(3, dtype=np.int64)}
    (FOLDER / "chunked.msgpack").write_bytes(serialization.msgpack_serialize(big))
    _write("chunked", big)


def _keras() -> None:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    model.save(FOLDER / "model.keras")
    model.save_weights(FOLDER / "model.weights.h5")
    model.save(FOLDER / "legacy.h5")
    _write("keras", {variable.path.replace("/", "."): variable.numpy() for variable in model.weights})


def _tensorflow() -> None:
    import tensorflow as tf

    class Model(tf.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.kernel = tf.Variable(tf.reshape(tf.range(12, dtype=tf.float32), (3, 4)))
            self.half = tf.Variable(tf.constant([1.5, 2.5], tf.bfloat16))
            self.ids = tf.Variable(tf.constant([1, 2, 3], tf.int64))
            self.flag = tf.Variable(True)
            self.name_ = tf.Variable("text")

    model = Model()
    tf.train.Checkpoint(model=model).write(str(FOLDER / "tf" / "checkpoint"))
    suffix = ".ATTRIBUTES.VARIABLE_VALUE"
    wanted = {"kernel": model.kernel, "half": tf.bitcast(model.half, tf.uint16), "ids": model.ids, "flag": model.flag}
    _write("tensorflow", {f"model.{name}.{suffix}".replace("..", "."): one.numpy() for name, one in wanted.items()})


PARTS: Final[Mapping[str, Callable[[], None]]] = {
    "joblib": _joblib,
    "paddle": _paddle,
    "flax": _flax,
    "keras": _keras,
    "tensorflow": _tensorflow,
}


def main() -> None:
    """Write what can be written."""
    FOLDER.mkdir(exist_ok=True)
    for name, write in PARTS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            write()
        except ImportError as error:
            sys.stderr.write(f"{name}: {error}\n")


if __name__ == "__main__":
    main()
