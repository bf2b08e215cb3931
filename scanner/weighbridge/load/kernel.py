"""The mode `kernel`: a file that the kernel itself holds to its digest (fs-verity) is mapped and not read.

Such a file can be neither written to nor truncated, and every page is verified when it comes from the disk. Its digest
stands in the approval when it had one at that time; nothing else is compared, so that a model of any size is ready in
no time, and processes share its pages.

Source: https://docs.kernel.org/filesystems/fsverity.html
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

from weighbridge.leaves import verity
from weighbridge.load.folder import Folder
from weighbridge.load.mapped import Mapped
from weighbridge.load.verified import Verified
from weighbridge.refusals import DigestMismatch, ModeMissing


class Kernel(Mapped):
    """A mapped file that cannot change."""

    def __init__(self, folder: Folder, path: str, measured: Callable[[int], bytes] = verity) -> None:
        """Map a file whose fs-verity digest, as the kernel gives it, is the approved one.

        Raises ModeMissing when the file has none here or had none when it was approved, DigestMismatch when it is
        another, and what `Verified` does.
        """
        file = Verified(folder, path)
        try:
            found = measured(file.descriptor)
            if not found:
                raise ModeMissing(file.where, "not under fs-verity here", "run `fsverity enable`, or use another mode")
            if not file.leaves.verity:
                fix = "run `fsverity enable` before approving it"
                raise ModeMissing(file.where, "not under fs-verity when it was approved", fix)
            if found != file.leaves.verity:
                raise DigestMismatch(file.where)
            self.header = file.header
            self._memory = memoryview(mmap.mmap(file.descriptor, file.file.size, access=mmap.ACCESS_COPY))
        finally:
            file.close()
