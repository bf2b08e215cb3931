"""What fickling makes of a file, asked for in a child process that can be killed.

fickling builds a syntax tree of the whole pickle: it takes a gigabyte for three million opcodes and never ends on some
small ones (a set whose members hash by walking a graph). So it runs as `python -m weighbridge.second_opinion`, with
limits on memory and time, reads the pickles of one file, and answers in JSON. No verdict rests on an answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO, Any, Final

from weighbridge.policy import Opinion

SECONDS: Final = 30  # fickling reads 100 000 opcodes a second; larger streams are not worth a person's wait
MEMORY: Final = 2 << 30  # bytes; what three million opcodes take, twice
ANSWER_LIMIT: Final = 4 << 20  # bytes of its answer; a listing beyond that is of no use
PICKLES: Final = 32  # streams of one file that are looked at
LISTING_LIMIT: Final = 64 << 10  # bytes of a stream that is worth showing as a program
_REASONS: Final = 8


def ask(path: str, name: str) -> Opinion:
    """Return what fickling says of the pickles in the file at `path`, which is shown as `name`."""
    answer = _answer(["judge", path])
    return Opinion(
        path=name,
        by=str(answer.get("by", "fickling")),
        says=str(answer["says"]),
        details=tuple(str(detail) for detail in answer.get("details", ())),
    )


def decompile(pickle: bytes, *, seconds: int = SECONDS) -> str | None:
    """Return a pickle stream as readable Python; None when fickling cannot do it, or not in that time."""
    listing = _answer(["list"], pickle, seconds=seconds).get("listing")
    return listing if isinstance(listing, str) else None


def _answer(arguments: list[str], standard_input: bytes = b"", *, seconds: int = SECONDS) -> dict[str, Any]:
    """Run the child and return its answer, or one that says why there is none."""
    # -P: the folder the user stands in may be the model's, and nothing in it may be imported.
    command = [sys.executable, "-P", "-m", __name__, *arguments]
    try:
        done = subprocess.run(command, input=standard_input, capture_output=True, timeout=seconds, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return {"says": f"no answer within {seconds} s"}
    if done.returncode != 0 or len(done.stdout) > ANSWER_LIMIT:
        last = done.stderr.decode(errors="replace").splitlines()[-1:]
        return {"says": "no answer", "details": last or [f"its process ended with status {done.returncode}"]}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main(arguments: list[str]) -> None:
    """Answer as the child: `judge PATH`, or `list` with a pickle on standard input."""
    _limit_resources()
    with redirect_stdout(sys.stderr):  # on which fickling writes its warnings
        answer = _judge(arguments[1]) if arguments[0] == "judge" else {"listing": _list()}
    sys.stdout.write(json.dumps(answer))


def _limit_resources() -> None:
    if sys.platform == "win32":  # there the parent's timeout is the only limit
        return
    import resource

    for kind, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, hard))


def _judge(path: str) -> dict[str, object]:
    import fickling
    from fickling.analysis import check_safety
    from fickling.fickle import StackedPickle

    worst, details, count = None, [], 0
    for stream in _pickles(path):
        for pickled in StackedPickle.load(stream):
            result = check_safety(pickled)
            count += 1
            worst = result.severity if worst is None else max(worst, result.severity)
            details += [one.message for one in result.results if one.message]
    says = worst.name.lower().replace("_", " ") if worst is not None and count else "no pickle found"
    by = f"fickling {getattr(fickling, '__version__', '')}".strip()
    return {"by": by, "says": says, "details": list(dict.fromkeys(details))[:_REASONS]}


def _list() -> str:
    import ast

    from fickling.fickle import Pickled

    return ast.unparse(Pickled.load(sys.stdin.buffer.read()).ast)


def _pickles(path: str) -> Iterator[IO[bytes]]:
    """Yield the file itself, or the members of a zip archive that are named as pickles are."""
    import zipfile

    if not zipfile.is_zipfile(path):
        with Path(path).open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
        for name in names[:PICKLES]:
            with archive.open(name) as member:
                yield member


if __name__ == "__main__":
    main(sys.argv[1:])
