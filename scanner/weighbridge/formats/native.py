"""Machine code and byte code: programs that have no business in a model's files.

Only enough of each header is read to say what the program is for; nothing in it is judged or followed.

Sources: the System V ABI (ELF), Microsoft's PE/COFF specification, Apple's mach-o/loader.h and fat.h, the Java
virtual machine specification §4.1, the WebAssembly core specification §5.5.16, MS-SHLLINK §2.1,
CPython Lib/importlib/_bootstrap_external.py (.pyc), NVIDIA's fatbinary.h, LLVM's bitcode format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from weighbridge.facts import Fact, Native
from weighbridge.formats.base import Context, Format
from weighbridge.reader import HEAD, Reader, Sample

_MACHINES: Final = {3: "x86", 40: "arm", 62: "x86-64", 183: "aarch64", 190: "cuda", 224: "amdgpu", 243: "riscv"}
_KINDS: Final = {1: "object", 2: "executable", 3: "shared object", 4: "core"}
_PE_MACHINES: Final = {0x14C: "x86", 0x8664: "x86-64", 0xAA64: "aarch64", 0x1C4: "arm"}
_MACH_CPUS: Final = {7: "x86", 0x01000007: "x86-64", 12: "arm", 0x0100000C: "aarch64"}
_MACH_KINDS: Final = {1: "object", 2: "executable", 6: "shared object", 8: "bundle"}
_FAT_LIMIT: Final = 30  # `file` draws the same line: Java's class versions begin at 45
_JAVA_VERSIONS: Final = range(45, 100)
_PYC_FLAGS: Final = range(4)
_PYC_END: Final = b"\r\n"  # of the magic number
_PE_DLL: Final = 0x2000


class _Program(NamedTuple):
    """What was found: the type of a `Native` and its detail."""

    type: str
    detail: str = ""


def _elf(head: bytes) -> _Program | None:
    bits = {b"\1": "32-bit", b"\2": "64-bit"}.get(head[4:5], "odd")
    order = "big" if head[5:6] == b"\2" else "little"
    kind = _KINDS.get(_number(head, 16, 2, order), "file")
    machine = _MACHINES.get(_number(head, 18, 2, order), "other machine")
    return _Program("elf", f"{bits} {kind}, {machine}")


def _pe(head: bytes) -> _Program | None:
    start = _number(head, 60, 4)
    if head[start : start + 4] != b"PE\0\0":
        # A header beyond the sample is still where Windows looks for it.
        return _Program("pe") if HEAD - 24 < start < 1 << 28 and len(head) == HEAD else None
    kind = "library" if _number(head, start + 22, 2) & _PE_DLL else "executable"
    return _Program("pe", f"{kind}, {_PE_MACHINES.get(_number(head, start + 4, 2), 'other machine')}")


def _macho(head: bytes) -> _Program | None:
    order = "big" if head[0] == 0xFE else "little"
    cpu = _MACH_CPUS.get(_number(head, 4, 4, order), "other machine")
    kind = _MACH_KINDS.get(_number(head, 12, 4, order), "file")
    return _Program("macho", f"{kind}, {cpu}")


def _cafebabe(head: bytes) -> _Program | None:
    """Tell a fat Mach-O, which counts its parts, from a Java class, which has its version there."""
    count = _number(head, 4, 4, "big")
    if 0 < count <= _FAT_LIMIT:
        return _Program("macho", f"{count} architectures")
    version = _number(head, 6, 2, "big")
    return _Program("java-class", f"version {version}") if version in _JAVA_VERSIONS else None


def _pyc(head: bytes) -> _Program | None:
    """A version's magic ends with CR LF; a code object follows 8 (Python 2), 12 or 16 bytes into the file."""
    if head[2:4] != _PYC_END:
        return None
    flags = _number(head, 4, 4)
    code = (head[8:9], head[12:13], head[16:17] if flags in _PYC_FLAGS else b"")
    return _Program("python-bytecode") if b"c" in code or b"\xe3" in code else None


def _wasm(head: bytes) -> _Program | None:
    return _Program("wasm", f"version {_number(head, 4, 4)}")


def _shortcut(head: bytes) -> _Program | None:
    link = b"\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46"
    return _Program("windows-shortcut") if head[4:20] == link else None


def _number(head: bytes, offset: int, size: int, order: str = "little") -> int:
    return int.from_bytes(head[offset : offset + size], "big" if order == "big" else "little")


def _always(type_: str) -> Callable[[bytes], _Program | None]:
    return lambda head: _Program(type_)


# By the first four bytes; one look-up answers for nearly every member of nearly every archive.
_BY_MAGIC: Final[dict[bytes, Callable[[bytes], _Program | None]]] = {
    b"\x7fELF": _elf,
    b"\xfe\xed\xfa\xce": _macho,
    b"\xfe\xed\xfa\xcf": _macho,
    b"\xce\xfa\xed\xfe": _macho,
    b"\xcf\xfa\xed\xfe": _macho,
    b"\xca\xfe\xba\xbe": _cafebabe,
    b"\xca\xfe\xba\xbf": _cafebabe,
    b"\0asm": _wasm,
    b"L\0\0\0": _shortcut,
    b"!<ar": _always("static-library"),
    b"dex\n": _always("dalvik"),
    b"BC\xc0\xde": _always("llvm-bitcode"),
    b"\xde\xc0\x17\x0b": _always("llvm-bitcode"),
    b"\x50\xed\x55\xba": _always("cuda-fatbin"),
}


def _identify(head: bytes) -> _Program | None:
    found = _BY_MAGIC.get(head[:4])
    if found is not None:
        return found(head)
    if head[:2] == b"MZ":
        return _pe(head)
    return _pyc(head)


def _may_begin(prefix: bytes) -> bool:
    """Tell whether any of these programs begins so."""
    return prefix[:4] in _BY_MAGIC or prefix[:2] == b"MZ" or prefix[2:4] == _PYC_END


def sniff(sample: Sample) -> bool:
    """Tell whether a program's header opens the bytes."""
    return _identify(sample.head) is not None


def parse(reader: Reader, context: Context) -> Iterator[Fact]:
    """Yield what kind of program it is."""
    found = _identify(reader.sample.head)
    if found is not None:
        yield Native(location=reader.origin, type=found.type, detail=found.detail)


FORMAT: Final = Format("native", "machine code or byte code", sniff, parse, may_begin=_may_begin)
