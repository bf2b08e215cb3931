# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary files of numpy and scipy."""

from __future__ import annotations

import numpy as np
import scipy.interpolate
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.spatial
import scipy.spatial.transform
import scipy.special
import scipy.stats

from .writer import PROTOCOLS, Corpus

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "longdouble",
    "complex64",
    "complex128",
    "clongdouble",
    "datetime64[ns]",
    "datetime64[D]",
    "timedelta64[s]",
    "U7",
    "S5",
    "V4",
    ">f4",
    ">i8",
]
RECORD = np.dtype([("id", "<i4"), ("name", "U8"), ("box", "<f4", (2, 2)), ("inner", [("a", "?"), ("b", "<f8")])])


def arrays() -> dict[str, object]:
    """Return one array of each kind."""
    matrix = np.arange(12.0).reshape(3, 4)
    found: dict[str, object] = {f"dtype_{index}": np.zeros(3, dtype) for index, dtype in enumerate(DTYPES)}
    return found | {
        "scalar": np.array(3.5),
        "empty": np.empty((0, 4)),
        "fortran": np.asfortranarray(matrix),
        "slice": matrix[:, ::2],
        "large": np.arange(20_000, dtype="f4").reshape(100, 200),
        "record": np.zeros(3, RECORD),
        "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "titled": np.zeros(
            2, np.dtype({"names": ["x", "y"], "formats": ["i4", "f8"], "offsets": [0, 8], "itemsize": 16})
        ),
        "metadata": np.zeros(2, np.dtype("i4", metadata={"unit": "m"})),
        "record_objects": np.zeros(2, [("id", "<i4"), ("text", "O"), ("inner", [("more", "O")])]),
        "recarray": np.zeros(3, RECORD).view(np.recarray),
        "masked": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
        "masked_record": np.ma.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
        "masked_constant": np.ma.masked,
        "matrix": np.asmatrix(matrix),
        "chararray": np.char.array(["ab", "c"]),
        "objects": np.array([None, {"a": 1}, [1, 2], "text", 1.5], dtype=object),
        "nested_objects": np.array([np.arange(3), np.arange(2.0)], dtype=object),
        "strings": np.array(["short", "x" * 40], dtype=np.dtypes.StringDType()),
    }


def scalars() -> dict[str, object]:
    """Return scalars, types, generators and other values that are not arrays."""
    return {
        "scalars": [np.float64(1.5), np.int32(3), np.bool_(True), np.complex64(1j), np.str_("s"), np.bytes_(b"b")],
        "half_scalars": [
            np.float16(1),
            np.longdouble(1),
            np.uint8(1),
            np.datetime64("2024-01-01"),
            np.timedelta64(3, "D"),
        ],
        "record_scalar": np.zeros(1, RECORD)[0],
        "dtypes": [np.dtype(name) for name in ("f4", "i8", "?", "U3", "S2", "M8[ns]", "O", ">i2")] + [RECORD],
        "types": [np.float32, np.int64, np.bool_, np.ndarray, np.str_, np.generic, np.dtype],
        "ufuncs": [np.log1p, np.exp, np.sqrt, np.add],
        "polynomial": [np.polynomial.Polynomial([1, 2, 3]), np.polynomial.Chebyshev([1, 0]), np.poly1d([1, 2])],
        "generators": [np.random.Generator(kind(0)) for kind in BIT_GENERATORS],
        "bit_generators": [kind(1) for kind in BIT_GENERATORS],
        "random_state": np.random.RandomState(0),
        "random_state_tuple": np.random.RandomState(0).get_state(),
        "seed_sequence": np.random.SeedSequence(5),
        "nested": {"mean": np.float64(0.5), "history": [np.float32(1)] * 3, "shape": (np.int64(2), 3)},
    }


BIT_GENERATORS = (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM)


def build_numpy(corpus: Corpus) -> None:
    """Write every array as .npy, together as .npz, and everything pickled in every protocol."""
    plain = {}
    for name, array in arrays().items():
        corpus.pickle(f"numpy/array-{name}", array, PROTOCOLS if name in EVERYWHERE else (2, 4, 5))
        if isinstance(array, np.ndarray) and name not in {"strings", "metadata"}:
            np.save(corpus.path(f"numpy/array-{name}.npy"), np.asarray(array), allow_pickle=True)
            plain[name] = np.asarray(array)
    np.savez(corpus.path("numpy/arrays.npz"), **plain)
    np.savez_compressed(corpus.path("numpy/arrays-compressed.npz"), **plain)
    for name, value in scalars().items():
        corpus.pickle(f"numpy/{name}", value, PROTOCOLS)


EVERYWHERE = {"dtype_10", "dtype_11", "scalar", "fortran", "record", "masked", "matrix", "objects", "large", "strings"}


def build_scipy(corpus: Corpus) -> None:
    """Write sparse matrices of every layout and the fitted objects that models keep."""
    dense = np.eye(4)
    for layout in ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"]:
        for kind in ("matrix", "array"):
            value = getattr(scipy.sparse, f"{layout}_{kind}")(dense)
            corpus.pickle(f"scipy/{layout}_{kind}", value, (2, 4, 5))
            if layout in ["csr", "csc", "coo", "dia", "bsr"]:
                scipy.sparse.save_npz(corpus.path(f"scipy/{layout}_{kind}.npz"), value)
    points = np.random.default_rng(0).random((12, 2))
    line = np.linspace(0, 1, 12)
    for name, value in fitted(points, line).items():
        corpus.pickle(f"scipy/{name}", value, (4,) if name in SINGLE else (2, 4, 5))


# A scan of trees, whose state scipy follows as pointers, is rightly inconclusive.
SINGLE = {"kd_tree", "ckd_tree", "nearest"}


def fitted(points: np.ndarray, line: np.ndarray) -> dict[str, object]:
    """Return fitted scipy objects over 12 points of the plane."""
    interpolate, stats, spatial = scipy.interpolate, scipy.stats, scipy.spatial
    return {
        "interp1d": interpolate.interp1d(line, line**2),
        "cubic_spline": interpolate.CubicSpline(line, line**2),
        "bspline": interpolate.make_interp_spline(line, line**2),
        "univariate_spline": interpolate.UnivariateSpline(line, line**2),
        "pchip": interpolate.PchipInterpolator(line, line**2),
        "akima": interpolate.Akima1DInterpolator(line, line**2),
        "barycentric": interpolate.BarycentricInterpolator(line[:4], line[:4]),
        "grid": interpolate.RegularGridInterpolator((line, line), np.outer(line, line)),
        "rbf": interpolate.RBFInterpolator(points, line),
        "nearest": interpolate.NearestNDInterpolator(points, line),
        "ppoly": interpolate.PPoly(np.ones((2, 3)), np.arange(4.0)),
        "kde": stats.gaussian_kde(points.T),
        "frozen_normal": stats.norm(0, 2),
        "frozen_gamma": stats.gamma(2.0),
        "frozen_uniform": stats.uniform(0, 1),
        "frozen_randint": stats.randint(0, 5),
        "multivariate_normal": stats.multivariate_normal([0, 0]),
        "linregress": stats.linregress(line, line),
        "ttest": stats.ttest_1samp(line, 0.0),
        "kd_tree": spatial.KDTree(points),
        "ckd_tree": spatial.cKDTree(points),
        "rotation": spatial.transform.Rotation.from_rotvec([0, 0, 1]),
        "optimize_result": scipy.optimize.minimize(lambda x: x @ x, [1.0, 2.0]),
        "bounds": scipy.optimize.Bounds([0.0], [1.0]),
        "transfer_function": scipy.signal.TransferFunction([1], [1, 2]),
        "special_ufunc": scipy.special.expit,
    }
