"""The store: bytes by the sha256 that was computed here while they arrived, in quarantine until a scan passes.

    HOME/                WEIGHBRIDGE_HOME, else the user's cache; mode 0700
      format             the version of this layout
      lock               shared by everything that reads or adds, exclusive for `gc`
      files/ab/<sha256>  the bytes, read-only; a name here is hexadecimal digits and nothing that a server said
      admitted/ab/<…>    the verdict that let the bytes in; bytes without one are in quarantine
      known/ab/<key>     which digest the bytes of a remote file had when they were last received
      partial/<key>/     what has arrived of a download: `data`, and `journal`, the parts of it that are on disk
      incoming/          files of this machine while they are copied, members of archives while they are unpacked
      locks/<key>        one process at a time downloads a file

Bytes become a file of the store by a rename, after they and before the folder are on disk, so whatever stops a process
(an error, `kill -9`, a full disk, a power cut) leaves complete files and resumable parts. Files do not move when they
are admitted: another process may be reading them.
"""

from __future__ import annotations

from weighbridge.store.fetch import Fetched, fetch
from weighbridge.store.intake import Intake
from weighbridge.store.layout import Admission, Store
from weighbridge.store.transfer import Progress

__all__ = ["Admission", "Fetched", "Intake", "Progress", "Store", "fetch"]
