"""Evasions in what carries the pickle: zip differentials, torch files, numpy, tar, compressors, 7z, polyglots.

torch takes the first of duplicate members, compares names without regard to case, trusts the directory's absolute
offset and looks at neither checksums nor local headers; Python's zipfile and the scanners built on it differ on each
(CVE-2025-1889, CVE-2025-1944, CVE-2025-1945, CVE-2025-10155, CVE-2025-10156).
"""

from __future__ import annotations

import bz2
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

from fixtures.archives import (
    Entry,
    gzip_file,
    lz4_file,
    seven_zip,
    tar_archive,
    tar_member,
    torch_entries,
    torch_zip,
    zip_archive,
    zstd_file,
)
from fixtures.assemble import P0, P2, P4, Ops, Spelling, discard

from .payloads import Payload, Sample, Technique, cross

PLAIN = P2.stream({"weights": [1, 2, 3]})


def program(payload: Payload, write: Spelling) -> bytes:
    """Return a pickle that makes the call and leaves a plain dict."""
    return write.stream(discard(payload.call(write), b"}"))


def npy(data: bytes, descr: str = "'|O'", shape: str = "(1,)", version: int = 1) -> bytes:
    """Return a .npy file of one pickle."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


def legacy_tar(data: bytes) -> bytes:
    """Return torch's first format: a tar of four members, of which three are pickles."""
    return tar_archive(
        tar_member("sys_info", P2.stream({"protocol_version": 1000, "little_endian": True})),
        tar_member("pickle", data),
        tar_member("tensors", P2.stream(0)),
        tar_member("storages", P2.stream(0) + P2.stream([])),
    )


def safetensors(data: bytes = bytes(4)) -> bytes:
    """Return a safetensors file of one tensor of bytes."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def _persistent(key: str, size: int = 4) -> Ops:
    return Ops(P2.tuple_of("storage", P2.name("torch", "FloatStorage"), key, "cpu", size) + b"Q")


def _tensor(key: str, size: int = 4) -> Ops:
    hooks = P2.call("collections:OrderedDict")
    return P2.call("torch._utils:_rebuild_tensor_v2", _persistent(key, size), 0, (size,), (1,), False, hooks)


def _with(change: Callable[[list[Entry], bytes], list[Entry]], benign: bytes = PLAIN) -> Technique:
    """Return a torch file whose members `change` rearranges, given those of a plain file and the hostile pickle."""
    return lambda payload, write: zip_archive(*change(torch_entries(benign), program(payload, write)))


def _hostile(**changes: object) -> Technique:
    """Return a torch file whose hostile data.pkl has other header fields than it should."""

    def make(payload: Payload, write: Spelling) -> bytes:
        first, *rest = torch_entries(program(payload, write))
        return zip_archive(replace(first, **changes), *rest)  # type: ignore[arg-type]

    return make


def _directory_of(archive: bytes) -> bytes:
    return archive[archive.find(b"PK\x01\x02") :]


def _two_archives(payload: Payload, write: Spelling) -> bytes:
    """Two archives of equal layout: zipfile reads the second, torch the first, as the end record's offset says."""
    hostile = program(payload, write)
    benign = P2.stream({"weights": "a" * 400})
    size = max(len(hostile), len(benign)) + 64
    pad = [data + bytes(size - len(data)) for data in (hostile, benign)]
    return torch_zip(pad[0]) + torch_zip(pad[1])


def _directory_offset_of_first(payload: Payload, write: Spelling) -> bytes:
    """The last end record points at the first archive's directory."""
    first = torch_zip(program(payload, write))
    second = bytearray(torch_zip(PLAIN))
    end = second.rfind(b"PK\x05\x06")
    second[end + 16 : end + 20] = struct.pack("<I", first.find(b"PK\x01\x02"))
    return first + bytes(second)


def _comment_with_directory(payload: Payload, write: Spelling) -> bytes:
    hostile = torch_zip(program(payload, write))
    return zip_archive(*torch_entries(PLAIN), comment=_directory_of(hostile))


def _zip64_end(payload: Payload, write: Spelling) -> bytes:
    """A zip64 end record that names another directory than the classic one."""
    hostile = torch_zip(program(payload, write))
    body, directory = hostile[: hostile.find(b"PK\x01\x02")], _directory_of(hostile)
    directory = directory[: directory.rfind(b"PK\x05\x06")]
    benign = torch_entries(PLAIN)
    other = zip_archive(*benign, prefix=body + directory)
    end = other.rfind(b"PK\x05\x06")
    count = len(benign)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), len(body))
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    tail = bytearray(other[end:])
    tail[16:20] = b"\xff\xff\xff\xff"
    return other[:end] + record + locator + bytes(tail)


# An Info-ZIP field (0x7075) that renames `archive/readme`; readers that know it and others see different members.
_UNICODE_PATH = struct.pack("<HHBI", 0x7075, 21, 1, zlib.crc32(b"archive/readme")) + b"archive/data.pkl"
ZIP: dict[str, Technique] = {
    "plain": _hostile(),
    "deflated": _hostile(method=8),
    "duplicate-first": _with(lambda es, bad: [replace(es[0], data=bad), *es]),
    "duplicate-last": _with(lambda es, bad: [*es, replace(es[0], data=bad)]),
    "case-upper": _with(lambda es, bad: [replace(es[0], name="archive/DATA.PKL", data=bad), *es[1:]]),
    "case-upper-first": _with(lambda es, bad: [replace(es[0], name="archive/DATA.PKL", data=bad), *es]),
    "case-mixed-last": _with(lambda es, bad: [*es, replace(es[0], name="archive/Data.pkl", data=bad)]),
    "name-without-extension": _with(lambda es, bad: [*es, Entry(name="archive/data", data=bad)]),
    "local-name-differs": _with(lambda es, bad: [replace(es[0], data=bad, local_name="archive/readme"), *es[1:]]),
    "central-name-differs": _with(
        lambda es, bad: [replace(es[0], data=bad, name="archive/readme.md", local_name="archive/data.pkl"), *es[1:]]
    ),
    "local-method-differs": _hostile(local_method=8),
    "local-method-unknown": _hostile(local_method=99),
    "central-method-unknown": _hostile(method=99),
    "method-bzip2": _with(lambda es, bad: [replace(es[0], data=bz2.compress(bad), method=12), *es[1:]]),
    "local-flag-encrypted": _hostile(local_flags=1),
    "central-flag-encrypted": _hostile(flags=1, local_flags=0),
    "both-flags-encrypted": _hostile(flags=1),
    "flag-patched-data": _hostile(flags=0x20),
    "flag-strong-encryption": _hostile(flags=0x41),
    "flag-utf8": _hostile(flags=0x800),
    "descriptor-without-one": _hostile(flags=8),
    "wrong-crc": _hostile(crc=1, local_crc=1),
    "wrong-central-crc": _hostile(crc=1),
    "local-sizes-zero": _hostile(local_size=0),
    "local-sizes-large": _hostile(local_size=1 << 20),
    "central-size-small": _hostile(size=4),
    "central-size-large": _hostile(size=1 << 20),
    "hidden-member": _with(lambda es, bad: [*es, Entry(name="archive/data.pkl", data=bad, hidden=True)]),
    "hidden-first": _with(lambda es, bad: [Entry(name="archive/data.pkl", data=bad, hidden=True), *es]),
    "local-signature-broken": lambda payload, write: torch_zip(program(payload, write)).replace(
        b"PK\3\4", b"PK\3\5", 1
    ),
    "central-signature-broken": lambda payload, write: torch_zip(program(payload, write)).replace(
        b"PK\1\2", b"PK\1\3", 1
    ),
    "end-record-missing": lambda payload, write: torch_zip(program(payload, write))[:-22],
    "truncated": lambda payload, write: torch_zip(program(payload, write))[:-200],
    "two-archives": _two_archives,
    "directory-of-the-first": _directory_offset_of_first,
    "benign-then-hostile": lambda payload, write: torch_zip(PLAIN) + torch_zip(program(payload, write)),
    "hostile-then-benign": lambda payload, write: torch_zip(program(payload, write)) + torch_zip(PLAIN),
    "comment-with-directory": _comment_with_directory,
    "comment-with-pickle": lambda payload, write: zip_archive(*torch_entries(PLAIN), comment=program(payload, write)),
    "zip64-directory-differs": _zip64_end,
    "pickle-before-members": lambda payload, write: zip_archive(*torch_entries(PLAIN), prefix=program(payload, write)),
    "pickle-before-unadjusted": lambda payload, write: program(payload, write) + torch_zip(PLAIN),
    "pickle-behind-members": lambda payload, write: zip_archive(*torch_entries(PLAIN), gap=program(payload, write)),
    "pickle-behind-archive": lambda payload, write: torch_zip(PLAIN) + program(payload, write),
    "junk-before": lambda payload, write: b"JUNK" * 4 + torch_zip(program(payload, write)),
    "unicode-path-differs": _with(
        lambda es, bad: [replace(es[0], name="archive/readme", data=bad, central_extra=_UNICODE_PATH), es[0], *es[1:]]
    ),
    "second-pickle-in-data": lambda payload, write: torch_zip(PLAIN + program(payload, write)),
    "member-unreferenced": lambda payload, write: torch_zip(PLAIN, {"7": program(payload, write)}),
    "member-referenced-elsewhere": lambda payload, write: torch_zip(
        P2.stream(P2.dict_of({"a": _tensor("0", 1)})), {"0": bytes(4), "1": program(payload, write)}
    ),
    "member-size-differs": lambda payload, write: torch_zip(
        P2.stream(P2.dict_of({"a": _tensor("0", 1)})), {"0": program(payload, write)}
    ),
    "member-named-like-a-tensor": _with(lambda es, bad: [*es, Entry(name="archive/data/0.safetensors", data=bad)]),
    "member-with-torch-extension": _with(lambda es, bad: [*es, Entry(name="archive/extra.pt", data=torch_zip(bad))]),
    "member-hidden-directory": _with(lambda es, bad: [*es, Entry(name="archive/.data/x", data=bad)]),
    "constants": _with(lambda es, bad: [*es, Entry(name="archive/constants.pkl", data=bad)]),
    "attributes": _with(lambda es, bad: [*es, Entry(name="archive/attributes.pkl", data=bad)]),
    "other-root": _with(lambda es, bad: [*es, Entry(name="other/data.pkl", data=bad)]),
    "other-root-first": _with(lambda es, bad: [Entry(name="other/data.pkl", data=bad), *es]),
    "deeper-directory": _with(lambda es, bad: [Entry(name="archive/a/data.pkl", data=bad), *es]),
    "no-root": lambda payload, write: zip_archive(Entry(name="data.pkl", data=program(payload, write))),
    "backslash-name": _with(lambda es, bad: [*es, Entry(name="archive\\data.pkl", data=bad)]),
    "nul-in-name": _with(lambda es, bad: [Entry(name="archive/data.pkl\0.txt", data=bad), *es[1:]]),
    "absolute-name": _with(lambda es, bad: [*es, Entry(name="/archive/data.pkl", data=bad)]),
    "escaping-name": _with(lambda es, bad: [*es, Entry(name="../../data.pkl", data=bad)]),
    "symlink-member": _with(
        lambda es, bad: [*es, Entry(name="archive/link", data=b"/etc/passwd", attributes=0o120777 << 16)]
    ),
    "directory-with-data": _with(lambda es, bad: [*es, Entry(name="archive/data/", data=bad, attributes=0x10)]),
    "overlapping-offset": _with(lambda es, bad: [replace(es[0], data=bad), *es[1:], Entry(name="archive/x", offset=0)]),
    "zip-in-zip": lambda payload, write: zip_archive(Entry(name="model.pt", data=torch_zip(program(payload, write)))),
    "zip-in-zip-deflated": lambda payload, write: zip_archive(
        Entry(
            name="model.zip", data=zip_archive(Entry(name="a.zip", data=torch_zip(program(payload, write)))), method=8
        )
    ),
    "python-member": _with(
        lambda es, bad: [*es, Entry(name="archive/hubconf.py", data=b"import os\n\nos.system('true')\n")]
    ),
    "native-member": _with(lambda es, bad: [*es, Entry(name="archive/data/lib.so", data=b"\x7fELF\2\1\1" + bytes(57))]),
    "script-member": _with(lambda es, bad: [*es, Entry(name="archive/run", data=b"#!/bin/sh\ntrue\n")]),
    "mar": lambda payload, write: zip_archive(
        Entry(name="MAR-INF/MANIFEST.json", data=b"{}"), Entry(name="model.pkl", data=program(payload, write))
    ),
    "keras-npz": lambda payload, write: zip_archive(
        Entry(name="config.json", data=b"{}"),
        Entry(name="model.weights.npz", data=zip_archive(Entry(name="w.npy", data=npy(program(payload, write))))),
    ),
}


def _npz(*members: tuple[str, bytes]) -> bytes:
    return zip_archive(*(Entry(name=name, data=data) for name, data in members))


_NUMBERS = npy(bytes(8), "'<f8'")
NUMPY: dict[str, Technique] = {
    "object-array": lambda payload, write: npy(program(payload, write)),
    "object-array-0d": lambda payload, write: npy(program(payload, write), shape="()"),
    "structured-object-array": lambda payload, write: npy(program(payload, write), "[('a', '|O'), ('b', '<f8')]"),
    "version-2-header": lambda payload, write: _version_two(program(payload, write)),
    "pickle-behind-array": lambda payload, write: _NUMBERS + program(payload, write),
    "array-behind-array": lambda payload, write: _NUMBERS + npy(program(payload, write)),
    "two-pickles": lambda payload, write: npy(PLAIN + program(payload, write)),
    "header-runs-code": lambda payload, write: npy(program(payload, write), "__import__('os').system('true')"),
    "header-unknown-type": lambda payload, write: npy(program(payload, write), "'O,i4'"),
    "npz": lambda payload, write: _npz(("a.npy", _NUMBERS), ("b.npy", npy(program(payload, write)))),
    "npz-pickle-member": lambda payload, write: _npz(("a.npy", _NUMBERS), ("b.pkl", program(payload, write))),
    "npz-pickle-named-npy": lambda payload, write: _npz(("a.npy", _NUMBERS), ("b.npy", program(payload, write))),
    "npz-duplicate": lambda payload, write: _npz(("a.npy", npy(program(payload, write))), ("a.npy", _NUMBERS)),
    "npz-nested": lambda payload, write: _npz(("a.npz", _npz(("b.npy", npy(program(payload, write)))))),
}


def _version_two(data: bytes) -> bytes:
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    text += b" " * (-(len(text) + 13) % 64) + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + data


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip_file,
    "gzip-named": lambda data: gzip_file(data, b"model.safetensors"),
    "gzip-second-member": lambda data: gzip_file(PLAIN) + gzip_file(data),
    "gzip-twice": lambda data: gzip_file(gzip_file(data)),
    "gzip-trailing": lambda data: gzip_file(PLAIN) + data,
    "gzip-bad-crc": lambda data: gzip_file(data)[:-8] + bytes(8),
    "gzip-truncated": lambda data: gzip_file(data)[:-6],
    "zlib": lambda data: zlib.compress(data, 9),
    "zlib-fast": lambda data: zlib.compress(data, 1),
    "zlib-stored": lambda data: zlib.compress(data, 0),
    "zlib-truncated": lambda data: zlib.compress(data, 9)[:-3],
    "zlib-trailing": lambda data: zlib.compress(PLAIN, 9) + data,
    "bz2": bz2.compress,
    "bz2-second-stream": lambda data: bz2.compress(PLAIN) + bz2.compress(data),
    "xz": lzma.compress,
    "xz-padded": lambda data: lzma.compress(PLAIN) + bytes(4) + lzma.compress(data),
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "lz4": lz4_file,
    "lz4-second-frame": lambda data: lz4_file(PLAIN) + lz4_file(data),
    "zstd": zstd_file,
    "zstd-behind-skippable": lambda data: b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstd_file(data),
    "7z": lambda data: seven_zip("model.pkl", data),
    "tar": lambda data: tar_archive(tar_member("model.pkl", data)),
    "tar-gzip": lambda data: gzip_file(tar_archive(tar_member("model.pkl", data))),
    "tar-in-tar": lambda data: tar_archive(tar_member("a.tar", tar_archive(tar_member("model.pkl", data)))),
    "tar-renamed-member": lambda data: tar_archive(tar_member("readme.md", data)),
    "tar-duplicate": lambda data: tar_archive(tar_member("model.pkl", PLAIN), tar_member("model.pkl", data)),
    "tar-behind-end": lambda data: tar_archive(tar_member("a", PLAIN)) + tar_member("model.pkl", data),
    "tar-data-behind": lambda data: tar_archive(tar_member("a", PLAIN)) + data,
    "tar-symlink": lambda data: tar_archive(tar_member("x", b"", b"2", "/etc"), tar_member("x/model.pkl", data)),
    "tar-hardlink": lambda data: tar_archive(tar_member("model.pkl", data), tar_member("y", b"", b"1", "model.pkl")),
    "tar-device": lambda data: tar_archive(tar_member("null", b"", b"3"), tar_member("model.pkl", data)),
    "tar-escaping": lambda data: tar_archive(tar_member("../../model.pkl", data)),
    "tar-unknown-type": lambda data: tar_archive(tar_member("model.pkl", data, b"Z")),
    "tar-long-name": lambda data: tar_archive(
        tar_member("././@LongLink", b"a" * 200 + b"\0", b"L"), tar_member("a" * 99, data)
    ),
    "tar-pax-size": lambda data: tar_archive(tar_member("x", b"11 size=16\n", b"x"), tar_member("model.pkl", data)),
    "legacy-tar": legacy_tar,
    "legacy-tar-info": lambda data: tar_archive(
        tar_member("sys_info", data),
        tar_member("pickle", PLAIN),
        tar_member("tensors", PLAIN),
        tar_member("storages", PLAIN),
    ),
    "legacy-tar-storages": lambda data: tar_archive(
        tar_member("sys_info", PLAIN),
        tar_member("pickle", PLAIN),
        tar_member("tensors", PLAIN),
        tar_member("storages", data),
    ),
    "nemo": lambda data: tar_archive(
        tar_member("./model_config.yaml", b"a: 1\n"), tar_member("./model.ckpt", torch_zip(data))
    ),
    "prefixed-text": lambda data: b"weights:\n" + data,
    "prefixed-zeros": lambda data: bytes(512) + data,
    "prefixed-image": lambda data: b"\x89PNG\r\n\x1a\n" + data,
    "script-and-zip": lambda data: b"#!/bin/sh\nexit 0\n" + torch_zip(data),
    "elf-and-zip": lambda data: b"\x7fELF\2\1\1" + bytes(57) + torch_zip(data),
    "pdf-and-zip": lambda data: b"%PDF-1.4\n" + torch_zip(data),
    "zip-and-elf": lambda data: torch_zip(PLAIN) + b"\x7fELF\2\1\1" + bytes(57),
    "safetensors-and-pickle": lambda data: safetensors() + data,
    "pickle-named-safetensors": lambda data: data,
    "tar-and-zip": lambda data: tar_archive(tar_member("a", PLAIN)) + torch_zip(data),
    "zip-in-safetensors": lambda data: safetensors() + torch_zip(data),
    "executable": lambda data: b"\x7fELF\2\1\1" + bytes(57),
    "windows-executable": lambda data: b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(64),
    "mach-o": lambda data: b"\xcf\xfa\xed\xfe" + bytes(60),
    "script": lambda data: b"#!/usr/bin/env python3\nimport os\nos.system('true')\n",
    "python-source": lambda data: b"import os\nos.system('true')\n",
    "unknown": lambda data: b"\xf1\xf2\xf3\xf4" * 16,
}


def _tar_name_is_pickle(payload: Payload, write: Spelling) -> bytes:
    """A tar archive whose first member's name is a text pickle: tar readers see a file, pickle runs the call."""
    return tar_archive(tar_member(P0.stream(payload.call(P0))[:100], PLAIN))


def _packed(pack: Callable[[bytes], bytes]) -> Technique:
    return lambda payload, write: pack(program(payload, write))


def _named(samples: list[Sample]) -> list[Sample]:
    """Give the files the names they would have in the wild; the extension is part of some evasions."""
    extensions = {
        "pickle-named-safetensors": ".safetensors",
        "safetensors-and-pickle": ".safetensors",
        "script": ".bin",
    }
    renamed = []
    for sample in samples:
        technique = sample.label.split("/")[1]
        renamed.append(replace(sample, name=sample.name + extensions.get(technique, "")))
    return renamed


def samples() -> list[Sample]:
    """Return every sample that turns on what carries the pickle."""
    packers = {name: _packed(pack) for name, pack in PACKERS.items()} | {"tar-name-is-pickle": _tar_name_is_pickle}
    return [
        *cross("zip", ZIP, suffix="pt"),
        *cross("numpy", NUMPY, suffix="npy"),
        *_named(cross("packed", packers, suffix="bin")),
        *cross(
            "packed", {"torch-legacy-named-pkl": lambda payload, write: torch_zip(program(payload, P4))}, suffix="pkl"
        ),
    ]
