"""The list of system calls that the kernel lets through, as a program of its packet filter.

Every call that is not listed answers EPERM. A call that would start a process rather than a thread, open a file for
writing, or signal or limit another process is told by its arguments. Everything is decided for the numbers and the
arguments in registers; nothing that a pointer leads to is looked at, because another thread could change it.

Source: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html, linux/bpf_common.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final

from weighbridge.isolation.calls import ARCHITECTURES, CALLS, system_call

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000  # SECCOMP_RET_KILL_PROCESS
_ERROR: Final = 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # in struct seccomp_data
_X32: Final = 0x40000000  # numbers of the other ABI of x86_64, which are other calls
_FILTER: Final = 1  # SECCOMP_SET_MODE_FILTER
_ALL_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC

_CLONE_THREAD: Final = 0x10000
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# TCGETS (is it a terminal), FIOCLEX and FIONCLEX (kept open in programs that are started), FS_IOC_MEASURE_VERITY.
_REQUESTS: Final = (0x5401, 0x5451, 0x5450, 0xC0046686)

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def install(machine: str, *, reading: bool, openat2: bool) -> None:
    """Restrict all threads of this process; raise OSError when the kernel refuses.

    `reading` allows files to be opened for reading, `openat2` by that call too, whose flags are behind a pointer.
    """
    code = b"".join(
        struct.pack("<HBBI", *one) for one in program(machine, os.getpid(), reading=reading, openat2=openat2)
    )
    held = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
    answer = system_call(ARCHITECTURES[machine][2], _FILTER, _ALL_THREADS, ctypes.c_char_p(filter_))
    if answer:  # a thread that has a filter of its own, which this one cannot replace
        raise OSError(errno.EBUSY, f"thread {answer} cannot be restricted")


def program(machine: str, process: int, *, reading: bool, openat2: bool) -> Iterator[Instruction]:
    """Yield the instructions of the filter for a machine and a process.

    The answer follows each comparison, because a jump reaches no further than 255 instructions.
    """
    place, architecture, _ = ARCHITECTURES[machine]
    yield from ((_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL))
    yield (_LOAD, 0, 0, _NUMBER)
    if machine == "x86_64":
        yield from ((_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL))
    special = _special(process, reading=reading, openat2=openat2)
    for name, numbers in CALLS.items():
        number = numbers[place]
        if number is None:
            continue
        answer = special.get(name, [(_RETURN, 0, 0, _ALLOW)])
        yield (_EQUAL, 0, len(answer), number)
        yield from answer
    yield _refuse(errno.EPERM)


def _special(process: int, *, reading: bool, openat2: bool) -> dict[str, list[Instruction]]:
    """Return what becomes of the calls whose arguments matter."""
    refused, absent = [_refuse(errno.EPERM)], [_refuse(errno.ENOSYS)]
    return {
        # The C library makes threads with `clone` when there is no `clone3`, whose flags are behind a pointer.
        "clone": _with(0, (_ANY_BIT, 0, 1, _CLONE_THREAD)),
        "clone3": absent,
        "tgkill": _with(0, (_EQUAL, 0, 1, process)),
        "prlimit64": _with(0, (_EQUAL, 0, 1, 0)),
        "ioctl": _one_of(1, _REQUESTS),
        "openat": _without(2, _WRITING) if reading else refused,
        "openat2": [(_RETURN, 0, 0, _ALLOW)] if reading and openat2 else absent,
    }


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERROR | error)


def _load(argument: int) -> Instruction:
    """Load the lower half of an argument; all that is compared are ints of 32 bits."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)


def _with(argument: int, test: Instruction) -> list[Instruction]:
    return [_load(argument), test, (_RETURN, 0, 0, _ALLOW), _refuse(errno.EPERM)]


def _without(argument: int, bits: int) -> list[Instruction]:
    return [_load(argument), (_ANY_BIT, 0, 1, bits), _refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]


def _one_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    found = [_load(argument)]
    for value in values:
        found += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*found, _refuse(errno.EPERM)]
