"""Sign a folder as OpenSSF Model Signing 1.0 has it, the same statement for the same files.

Every file is in it, git's own among them, except the signature itself. Links are refused, as they are when the
signature is verified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weighbridge.errors import UsageError
from weighbridge.evidence import bundle, oms, statement
from weighbridge.evidence.coverage import below, check_names
from weighbridge.evidence.dsse import IN_TOTO
from weighbridge.evidence.measure import Plan
from weighbridge.evidence.statement import Subject
from weighbridge.evidence.tree import Tree
from weighbridge.location import printable
from weighbridge.writing import write

if TYPE_CHECKING:
    from weighbridge.evidence.base import Evidence, Signature
    from weighbridge.evidence.bundle import Bundle
    from weighbridge.evidence.signers import Signer

NAME: Final = "model.sig"

# Returns the signature in a bundle that was just made, verified with what is known of the signer.
Check = Callable[["Bundle"], "Signature"]


def sign(
    folder: Path, destination: Path, signer: Signer, check: Check, *, left_out: Collection[str] = (), threads: int = 0
) -> Evidence:
    """Sign every file of a folder and write the bundle, which may lie in the folder; return what it proves.

    `left_out` are paths of files and folders that are not signed.

    1. Digest the files; what is at the destination is left out.
    2. Sign the statement.
    3. Verify the bundle as any reader would, and hold the files against it.
    4. Write it beside its destination and rename it.

    Raises UsageError when there is nothing to sign or the bundle cannot be written, UnsafeEntry for what cannot be
    signed, ChangedDuringRead when somebody writes to the folder meanwhile.
    """
    where = printable(str(destination))
    with Tree(folder, threads=threads) as tree:
        if tree.single:
            raise UsageError(f"{tree.where}: a file, and folders are what is signed here")
        out = sorted({*(path.strip("/") for path in left_out), *_inside(folder, destination)})
        payload = state(tree, folder.resolve().name, out)  # 1
        raw = signer.sign(payload, IN_TOTO)  # 2
        signature = check(bundle.parse(raw, where))  # 3
        evidence, _ = oms.verify(tree, signature, where, ignored=out)
    write(destination, [raw], error=UsageError)  # 4
    return evidence


def state(tree: Tree, model: str, left_out: Collection[str] = ()) -> bytes:
    """Return the statement about the files of a folder, as the payload of an envelope."""
    paths = [path for path in tree.paths if not below(path, left_out)]
    if not paths:
        raise UsageError(f"{tree.where}: there is no file to sign")
    check_names(paths, tree.where)
    measured = tree.measure({path: Plan() for path in paths})
    resources = [{"name": path, "algorithm": "sha256", "digest": measured[path].sha256} for path in paths]
    serialization: dict[str, object] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if left_out:
        serialization["ignore_paths"] = sorted(left_out)
    root = oms.root_digest([measured[path].sha256 for path in paths])
    return statement.render(
        [Subject(name=model, digests={"sha256": root})],
        oms.PREDICATE,
        {"resources": resources, "serialization": serialization},
    )


def _inside(folder: Path, destination: Path) -> tuple[str, ...]:
    """Return the path that a destination has below a folder, nothing when it lies elsewhere."""
    top, place = folder.resolve(), destination.parent.resolve() / destination.name
    return (place.relative_to(top).as_posix(),) if place.is_relative_to(top) else ()
