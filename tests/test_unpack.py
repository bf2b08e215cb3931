"""The files inside packed layers: what comes out, and what is refused before or behind it."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from examining import facts_of, members
from hypothesis import given
from hypothesis import strategies as st
from servers.oci_layouts import gzipped, tar, zstd

from weighbridge.errors import SourceError
from weighbridge.limits import Limits
from weighbridge.unpack import PACKINGS, unpack

Pack = Callable[[bytes], bytes]
COMPRESSORS: dict[str, Pack] = {"tar+gzip": gzip.compress, "tar+zstd": zstandard.compress}
PACKS: dict[str, Pack] = {"tar": lambda data: data, "tar+gzip": gzipped, "tar+zstd": zstd}
COMPRESSED = pytest.mark.parametrize("packing", COMPRESSORS)
EVERY = pytest.mark.parametrize("packing", PACKS)
NO_LIMITS = Limits()


def unpacked(data: bytes, packing: str = "tar", limits: Limits = NO_LIMITS) -> dict[str, bytes]:
    """Return the files in a layer of these bytes."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        found = {}
        for one in unpack(file.fileno(), packing, limits, source="layer"):
            found[one.path] = b"".join(one.pieces)
            assert len(found[one.path]) == one.size
        return found


def archive(*entries: tuple[str, bytes, dict[str, object]], format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive of members with attributes of their own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as file:
        for name, data, attributes in entries:
            information = tarfile.TarInfo(name)
            information.size = len(data)
            for key, value in attributes.items():
                setattr(information, key, value)
            file.addfile(information, io.BytesIO(data))
    return buffer.getvalue()


def folder(name: str) -> tuple[str, bytes, dict[str, object]]:
    return name, b"", {"type": tarfile.DIRTYPE}


FILES = {"a.bin": b"x" * 3000, "b/c.json": b"{}", "empty": b"", "exact": b"y" * 512}


def test_every_packing_has_its_test() -> None:
    assert tuple(PACKS) == PACKINGS


@EVERY
def test_what_was_packed_comes_out(packing: str) -> None:
    assert unpacked(PACKS[packing](tar(FILES)), packing) == FILES


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read(format: int) -> None:
    long = "folder/" + "n" * 60 + "/" + "n" * 60
    data = archive(folder("./"), folder("./folder/"), (f"./{long}", b"1", {}), ("./é", b"2", {}), format=format)
    assert unpacked(data) == {long: b"1", "é": b"2"}


@pytest.mark.parametrize(
    ("packing", "pack"),
    [
        ("tar+gzip", lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:])),
        ("tar+zstd", lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:])),
        ("tar+gzip", gzip.compress),
        ("tar+zstd", zstandard.compress),
    ],
)
def test_streams_behind_each_other_are_one_archive(packing: str, pack: Pack) -> None:
    assert unpacked(pack(tar(FILES)), packing) == FILES


@EVERY
def test_files_that_are_not_read_are_skipped(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(PACKS[packing](tar(FILES)))
    with path.open("rb") as file:
        assert [one.path for one in unpack(file.fileno(), packing, NO_LIMITS, source="layer")] == list(FILES)


@EVERY
def test_every_truncation_is_refused(packing: str) -> None:
    whole = PACKS[packing](tar({"a": b"x" * 600})[:2560])  # two blocks of zeros at the end
    unpacked(whole, packing)
    # The second block of zeros is there for tapes; every reader stops at the first.
    for size in range(0, len(whole) - (512 if packing == "tar" else 0), 7):
        with pytest.raises(SourceError):
            unpacked(whole[:size], packing)


def link(kind: bytes, name: str = "l") -> bytes:
    return archive(("a", b"1", {}), (name, b"", {"type": kind, "linkname": "a"}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (link(tarfile.SYMTYPE), "is a symlink to 'a', and no file"),
        (link(tarfile.LNKTYPE), "is a hardlink to 'a', and no file"),
        (link(tarfile.CHRTYPE), "is a device, and no file"),
        (link(tarfile.FIFOTYPE), "is a device, and no file"),
        (archive(("a", b"1", {"type": b"S"})), "sparse|ends|want"),
        (archive(("a", b"1", {"pax_headers": {"GNU.sparse.major": "1"}})), "is a sparse file"),
        (archive(("a", b"1", {"type": b"Z"})), "member type 'Z'"),
        (archive(("../a", b"1", {})), "the path '../a' is refused"),
        (archive(("/a", b"1", {})), "the path '/a' is refused"),
        (archive(("a/./b", b"1", {})), "is refused"),
        (archive(("a\\b", b"1", {})), "is refused"),
        (archive(("a/", b"1", {"type": tarfile.REGTYPE})), "is refused"),
        (archive(("a", b"1", {"pax_headers": {"path": "../b"}})), "is refused"),
        (archive(("a", b"1", {}), ("a", b"2", {})), "are one on some systems"),
        (archive(("a", b"1", {}), ("A", b"2", {})), "are one on some systems"),
        (archive(("a", b"1", {}), ("a/b", b"2", {})), "is a file and the folder"),
        (archive(("a", b"1", {"pax_headers": {"comment": "x" * (1 << 20)}})), "an extended header of"),
        (tar({"a": b"1"}) + b"x", "behind the end"),
        (tar({"a": b"1"}) + tar({"b": b"1"}), "behind the end"),
        (tar({"a": b"1"})[:700] + b"x" + tar({"a": b"1"})[701:], "are not zero"),
        (b"x" * 1024, "wrong check sum"),
        (b"", "ends"),
    ],
)  # fmt: skip
def test_what_is_no_plain_file_of_a_model_is_refused(data: bytes, reason: str) -> None:
    for packing, pack in PACKS.items():
        with pytest.raises(SourceError, match=reason) as caught:
            unpacked(pack(data), packing)
        assert str(caught.value).startswith("layer") and str(caught.value).isprintable()


@COMPRESSED
def test_bytes_beside_the_compressed_data_are_refused(packing: str) -> None:
    data = PACKS[packing](tar(FILES))
    for more in (b"x", tar(FILES), b"\x50\x2a\x4d\x18\x01\0\0\0x"):
        with pytest.raises(SourceError):
            unpacked(data + more, packing)


def test_a_layer_of_another_packing_than_it_says_is_refused() -> None:
    for said in PACKS:
        for packing, pack in PACKS.items():
            if packing != said:
                with pytest.raises(SourceError):
                    unpacked(pack(tar(FILES)), said)
    with pytest.raises(SourceError, match="not known"):
        unpacked(tar(FILES), "zip")


@COMPRESSED
def test_limits_are_named(packing: str) -> None:
    pack = COMPRESSORS[packing]
    data = pack(tar({"a": bytes(1 << 22)}))
    with pytest.raises(SourceError, match="max_unpacked: over 1048576"):
        unpacked(data, packing, Limits(max_unpacked=1 << 20))
    with pytest.raises(SourceError, match="max_ratio: over 10 "):
        unpacked(data, packing, Limits(max_ratio=10, ratio_floor=1 << 20))
    assert unpacked(data, packing, Limits(max_ratio=10, ratio_floor=1 << 23))


def test_members_are_counted_before_they_are_handed_out() -> None:
    with pytest.raises(SourceError, match="max_members: over 3"):
        unpacked(tar({str(number): b"" for number in range(4)}), limits=Limits(max_members=3))


def test_without_the_library_it_says_which_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(SourceError, match=r"pip install 'weighbridge\[zstd\]'"):
        unpacked(zstd(tar(FILES)), "tar+zstd")


@COMPRESSED
def test_memory_does_not_grow_with_what_comes_out(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(COMPRESSORS[packing](tar({"a": bytes(160 << 20)})))
    with path.open("rb") as file:
        tracemalloc.start()
        try:
            for one in unpack(file.fileno(), packing, NO_LIMITS, source="layer"):
                assert sum(map(len, one.pieces)) == one.size
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads the size of mapped files from /proc")
def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(tar({"a": bytes(100 << 20)}))

    def mapped() -> int:
        status = Path("/proc/self/status").read_text()
        return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssFile")), 0)

    with path.open("rb") as file:
        before = peak = mapped()
        for one in unpack(file.fileno(), "tar", NO_LIMITS, source="layer"):
            for _ in one.pieces:
                peak = max(peak, mapped())
    assert peak - before < 60 << 10  # KiB


@given(st.binary(max_size=600), st.integers(0, 1200), st.sampled_from(list(PACKS)))
def test_any_bytes_are_unpacked_or_refused(junk: bytes, place: int, packing: str) -> None:
    whole = tar({"a": b"1" * 20, "b": b"2"})[:3072]
    for data in (junk, whole[:place] + junk + whole[place + len(junk) :]):
        for layer in (data, PACKS[packing](data)):
            try:
                unpacked(layer, packing)
            except SourceError as error:
                assert str(error).isprintable()


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(/[a-z]{1,120}){0,2}", fullmatch=True), st.binary(max_size=2000), max_size=5
    )
)
def test_what_the_scan_sees_in_an_archive_is_what_comes_out(files: dict[str, bytes]) -> None:
    data = tar(files)
    try:
        found = unpacked(data)
    except SourceError:
        return  # a file that is also a folder
    assert found == files
    assert [name for kind, name in members(facts_of(data)) if kind == "file"] == list(files)
