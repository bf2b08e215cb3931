"""Landlock: the files that this process may open for reading, and nothing else of the file system or network.

Source: https://docs.kernel.org/userspace-api/landlock.html, linux/landlock.h; versions 1 (Linux 5.13) to 8 (7.0).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from weighbridge.isolation.calls import system_call

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on all architectures
_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_BENEATH: Final = 1  # LANDLOCK_RULE_PATH_BENEATH
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# How many kinds of access to files a version knows, from the lowest bit on: REFER came with 2, TRUNCATE with 3,
# IOCTL_DEV with 5.
_FILES: Final = {1: 13, 2: 14, 3: 15, 4: 15}
_FILES_NOW: Final = 16
_NETWORK: Final = 0b11  # bind and connect TCP, since 4
_SCOPED: Final = 0b11  # abstract Unix sockets and signals stay inside, since 6
_ALL_THREADS: Final = 1 << 3  # LANDLOCK_RESTRICT_SELF_TSYNC, since 8
ALL_THREADS_SINCE: Final = 8


def version() -> int:
    """Return the version that the kernel has, 0 when it has none or it is switched off."""
    try:
        return system_call(_CREATE, 0, 0, _VERSION)
    except OSError:
        return 0


def install(known: int, read: Sequence[Path]) -> None:
    """Restrict this thread and what it starts, all threads since version 8; raise OSError when the kernel refuses."""
    kinds = (1 << _FILES.get(known, _FILES_NOW)) - 1
    attributes = struct.pack("<QQQ", kinds, _NETWORK if known >= 4 else 0, _SCOPED if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    rules = system_call(_CREATE, ctypes.c_char_p(attributes), size, 0)
    try:
        for path in read:
            _allow(rules, path)
        system_call(_RESTRICT, rules, _ALL_THREADS if known >= ALL_THREADS_SINCE else 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path) -> None:
    """Allow a file, or a folder and all that is in it, to be read."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        access = _READ_FILE | (_READ_FOLDER if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 0)
        system_call(_ADD, rules, _BENEATH, ctypes.c_char_p(struct.pack("<Qi", access, descriptor)), 0)
    finally:
        os.close(descriptor)
