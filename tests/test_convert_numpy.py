"""numpy's arrays as a source: every type, both orders of elements and of bytes, packed members, what is refused."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from converting import assert_equal, convert_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fixtures.archives import Entry, zip_archive
from weighbridge.convert.conversion import convert, listing
from weighbridge.convert.dtypes import NUMPY
from weighbridge.errors import ArtifactError, UnconvertibleError

TYPES = sorted({kind for kind in NUMPY if kind != "?"})


def npy(array: np.ndarray) -> bytes:
    """Return an array as numpy saves it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_in_either_order_of_bytes(tmp_path: Path, kind: str, order: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(f"{order}{kind}")
    np.savez(tmp_path / "a.npz", c=values, f=np.asfortranarray(values), empty=values[:0], scalar=values[1, 2, 3])
    _, found = convert_to(tmp_path / "a.npz")
    assert_equal(found, {"c": values, "f": values, "empty": values[:0], "scalar": values[1, 2, 3]})
    assert found["c"][0] == NUMPY[kind]


def test_an_array_alone_has_a_name_that_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    _, found = convert_to(tmp_path / "a.npy")
    assert_equal(found, {"tensor": np.eye(3)})


def test_packed_members_are_unpacked(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((100, 50))
    np.savez_compressed(tmp_path / "a.npz", a=values, b=values.T)
    _, found = convert_to(tmp_path / "a.npz")
    assert_equal(found, {"a": values, "b": values.T})


def test_texts_go_to_the_record(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones(2), format=np.array("csr"), names=np.array(["é", "bc"]), raw=np.array(b"x"))
    made, found = convert_to(tmp_path / "a.npz")
    assert list(found) == ["w"]
    assert made.scalars == {"format": "csr", "names": ["é", "bc"], "raw": "x"}


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}, 1], dtype=object), "'x'.* an array of objects, which is a pickle"),
        (np.zeros(2, "c16"), "'x' .*complex numbers of more than 64 bits"),
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "'x' .*structured"),
        (np.zeros(2, "M8[s]"), "'x' .*dates and times"),
        (np.zeros(2, "V3"), r"'x' .*type '\|V3' has no equivalent"),
        (np.array([["a"], ["b"]]), "'x'.* an array of texts"),
        (np.array(["a" * 100_000]), "'x'.* an array of texts"),
    ],
)
def test_types_without_an_equivalent_are_refused_by_name(tmp_path: Path, array: object, reason: str) -> None:
    np.savez(tmp_path / "a.npz", x=array, w=np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(UnconvertibleError, match=reason):
        convert(tmp_path / "a.npz", tmp_path / "out.safetensors")
    assert [one.name for one in listing(tmp_path / "a.npz").refused] == ["x"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


PLAIN = npy(np.arange(6, dtype="f4"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PLAIN[:-1], "the array has 24 bytes, and 23 are there"),
        (PLAIN + b"x", "the array has 24 bytes, and 25 are there"),
        (PLAIN.replace(b"(6,)", b"(-1)"), "npy header"),
        (PLAIN.replace(b"(6,)", b"(9,)"), "the array has 36 bytes"),
        (PLAIN.replace(b"'<f4'", b"'f,4'"), r"type 'f,4' has no equivalent"),
        (PLAIN.replace(b"False", b"Flase"), "npy header"),
        (PLAIN[:6] + b"\x09" + PLAIN[7:], "is not 1.0, 2.0 or 3.0"),
        (PLAIN[:8] + b"\xff\xff" + PLAIN[10:], "want 65535 bytes"),
    ],
)
def test_broken_arrays_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ArtifactError, match=reason):
        convert(tmp_path / "a.npy", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([Entry(name="a.npy", data=PLAIN), Entry(name="a.npy", data=PLAIN)], "readers of zip files differ"),
        ([Entry(name="a.npy", data=PLAIN), Entry(name="A.npy", data=PLAIN)], "readers of zip files differ"),
        ([Entry(name="../a.npy", data=PLAIN)], "readers of zip files differ"),
        ([Entry(name="a.npy", data=PLAIN[:50])], "the header ends early|want|npy header"),
    ],
)
def test_archives_on_which_readers_differ_are_refused(tmp_path: Path, entries: list[Entry], reason: str) -> None:
    (tmp_path / "a.npz").write_bytes(zip_archive(*entries))
    with pytest.raises(ArtifactError, match=reason):
        convert(tmp_path / "a.npz", tmp_path / "out.safetensors")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_checksum_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("a.npy", PLAIN)
        crc = archive.infolist()[0].CRC.to_bytes(4, "little")
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data.replace(crc, b"\x01\x02\x03\x04"))
    with pytest.raises(ArtifactError, match=r"CRC"):
        convert(tmp_path / "a.npz", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_bomb_needs_to_be_allowed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(40 << 20, "u1"))
    with pytest.raises(UnconvertibleError, match="--max-output"):
        convert(tmp_path / "a.npz", tmp_path / "out.safetensors")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=arrays.arrays(
        st.sampled_from([f"{order}{kind}" for kind in TYPES for order in "<>"]),
        arrays.array_shapes(min_dims=0, max_dims=4, max_side=5),
    ),
    fortran=st.booleans(),
)
def test_any_array_comes_out_as_it_went_in(tmp_path: Path, array: np.ndarray, fortran: bool) -> None:
    np.save(tmp_path / "a.npy", np.array(array, order="F" if fortran else "C"))
    _, found = convert_to(tmp_path / "a.npy", overwrite=True)
    assert_equal(found, {"tensor": array})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_byte_gives_arrays_or_an_artifact_error(tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(6, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npy").write_bytes(bytes(broken))
    with suppress(ArtifactError):
        listing(tmp_path / "a.npy", digests=True)
