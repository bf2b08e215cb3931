"""The system calls that a process needs which only computes and reads, by their numbers, and calls of our own to Linux.

Source: Linux 6.18, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

# (x86_64, aarch64); None where an architecture has no such call. What is not here is refused.
CALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    # Memory.
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "msync": (26, 227),
    "mincore": (27, 232),
    "madvise": (28, 233),
    "mlock": (149, 228),
    "mbind": (237, 235),
    "get_mempolicy": (239, 236),
    "memfd_create": (319, 279),
    # What is open already.
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "sendfile": (40, 71),
    "fcntl": (72, 25),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "getdents64": (217, 61),
    "fadvise64": (221, 223),
    "fallocate": (285, 47),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "copy_file_range": (326, 285),
    "preadv2": (327, 286),
    "pwritev2": (328, 287),
    "fstatfs": (138, 44),
    # What a path is; no bytes of it.
    "stat": (4, None),
    "lstat": (6, None),
    "access": (21, None),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "statfs": (137, 43),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "statx": (332, 291),
    "faccessat2": (439, 439),
    # Threads, signals of one's own, waiting.
    "poll": (7, None),
    "select": (23, None),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "epoll_wait": (232, None),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_create1": (291, 20),
    "eventfd2": (290, 19),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "arch_prctl": (158, None),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # Who and when one is.
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getrusage": (98, 165),
    "getcpu": (309, 168),
    "time": (201, None),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "getrandom": (318, 278),
    # Allowed with some arguments only.
    "ioctl": (16, 29),
    "clone": (56, 220),
    "tgkill": (234, 131),
    "openat": (257, 56),
    "prlimit64": (302, 261),
    "clone3": (435, 435),
    "openat2": (437, 437),
}
# By the machine's name: the place in the tuples above, what the kernel calls the architecture (linux/audit.h), and the
# number of seccomp(2).
ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}


def system_call(number: int, *arguments: object) -> int:
    """Call Linux and return what it answers; raise OSError when that is an error."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    answer: int = libc.syscall(
        ctypes.c_long(number), *(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    )
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def control(option: int, argument: int) -> None:
    """Call prctl(2); raise OSError when it is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *(ctypes.c_ulong(one) for one in (argument, 0, 0, 0))) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
