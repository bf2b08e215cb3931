"""Servers and other programs over approved files: verify, copy to a private place, and run the command over that.

1. The approval of the folder, and the gate for its configurations, as for every load.
2. The command: what it says that would run a model's code or load other files is refused.
3. Every approved file into the private copy, hashed on its way; nothing else of the folder.
4. The environment: offline, weights only.
5. No new privileges, no core files; then the command takes the place of this process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from weighbridge.approval import Approval
from weighbridge.errors import UsageError
from weighbridge.evidence.trust_policy import VARIABLE
from weighbridge.isolation import drop_privileges
from weighbridge.load.folder import open_folder
from weighbridge.location import printable
from weighbridge.report.base import counted, sized
from weighbridge.serve.arguments import Rewriter, check
from weighbridge.serve.ending import become, watch
from weighbridge.serve.exposure import expose, private_folder

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy


def run(
    approved: str | os.PathLike[str],
    words: Sequence[str],
    *,
    trust: TrustPolicy | str | os.PathLike[str] | None = None,
    source: str | None = None,
    place: str | os.PathLike[str] | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> NoReturn:
    """Run a command over the private copy of an approved folder; return to nobody.

    `source` is the reference that the approval has to be of (None: any); `place` is the folder that the copy is made in
    (None: the system's for temporary files); `notice` is told what is run. Raises a NotApproved when there is no
    approval that holds, a LoadError for what is not as approved or what the command must not say, UsageError when the
    command cannot be run or does not name the folder.
    """
    path = Path(approved)
    folder, rest = open_folder(path, trust, source)
    with folder:
        if rest:
            raise UsageError(f"{printable(str(path))} is in the approved folder {folder.where('')}; name that folder")
        program = _program(words)
        with private_folder(place) as root:
            watched = watch(root)
            copy = root / (path.resolve().name or "model")
            rewriter = Rewriter(path, folder.approval, copy)
            if rewriter.holds(program):
                raise UsageError(
                    f"{printable(program)}: in the approved folder, which is data and no program to be run"
                )
            rewritten = rewriter.words(words)
            server = check(rewritten, folder.approval, copy)
            environment = rewriter.environment(os.environ)
            if isinstance(trust, str | os.PathLike):  # for programs that verify once more
                environment[VARIABLE] = os.path.abspath(trust)  # noqa: PTH100 - links in it are the user's
            expose(folder, copy)
            notice(_summary(folder.approval, copy, server.name if server else program))
            drop_privileges()
            inside = Path.cwd().is_relative_to(path.resolve())
            become(program, rewritten, environment, root=root, watched=watched, folder=copy if inside else None)


def _summary(approval: Approval, copy: Path, program: str) -> str:
    """Return what is run over what, in a line."""
    size = sized(sum(file.size for file in approval.files))
    what = f"{approval.resource}, approved by {approval.signer}: {counted(len(approval.files), 'file')}, {size}"
    return printable(f"{what}, verified in {copy}; running {program}")


def _program(words: Sequence[str]) -> str:
    """Return the file of a command; raise UsageError when there is none."""
    if not words:
        raise UsageError("no command to run")
    program = shutil.which(words[0])
    if program is None:
        raise UsageError(f"{printable(words[0])}: no such command")
    return os.path.abspath(program)  # noqa: PTH100 - `resolve` would follow the link that a virtual environment is
