"""The files of a model as they lie on disk: listed without following anything, and digested while nobody changes them.

A folder is opened once, and everything below it through that descriptor, so that no name is looked up twice and none
leads outside. What is no regular file or folder is refused wherever it stands. A file that somebody alters while it is
read is read once more and then refused, and so is a folder whose files are not, in the end, those that were digested.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from weighbridge.artifact import MAX_FILES, Entry
from weighbridge.digest import CHUNK
from weighbridge.errors import SourceError, UsageError
from weighbridge.evidence import measure
from weighbridge.evidence.measure import Measured, Plan
from weighbridge.location import printable
from weighbridge.refusals import ChangedDuringRead, UnsafeEntry

MAX_DEPTH: Final = 64  # folders in folders; repositories have up to ten
MAX_ENTRIES: Final = 2 * MAX_FILES  # files and folders together: a folder without files costs as much to list

_FILE: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER: Final = _FILE | getattr(os, "O_DIRECTORY", 0)
_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class State(NamedTuple):
    """What tells that a file is the same and has not been written to."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        """Return the state that a system call tells."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Contents(Protocol):
    """The files of a model: a folder, a single file, or what was fetched into a store."""

    @property
    def where(self) -> str:
        """What errors call them."""

    @property
    def single(self) -> bool:
        """Whether this is one file that was named, and no folder."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of every file, sorted."""

    def size(self, path: str) -> int:
        """Return how many bytes a file has."""

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole file of at most `limit` bytes; raise SourceError when it is longer."""

    def measure(self, plans: Mapping[str, Plan]) -> dict[str, Measured]:
        """Return the files of the plans, measured."""


class Tree:
    """A folder or a single file on disk, open from `with` to its end.

    `threads` share the digesting, each with a file of its own; as many as there are processors by default.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self.where = printable(str(path))
        self._path = path
        self._threads = threads or os.cpu_count() or 1
        self._top = -1
        self._found: dict[str, State] = {}
        self._measured: dict[tuple[str, Plan], tuple[State, Measured]] = {}
        self.single = False

    def __enter__(self) -> Self:
        """Open the place and list it.

        Raises SourceError when it cannot be read, UnsafeEntry when something in it is neither file nor folder, or it
        holds too much.
        """
        if os.open not in os.supports_dir_fd or os.scandir not in os.supports_fd:
            raise UsageError("signatures over folders need a system that opens files relative to a folder")
        try:
            self._top = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"{self.where}: {error.strerror or error}") from error
        opened = False
        try:
            status = os.fstat(self._top)
            self.single = stat.S_ISREG(status.st_mode)
            if not self.single and not stat.S_ISDIR(status.st_mode):
                raise UnsafeEntry(self.where, f"{_kind(status.st_mode)} instead of a model")
            self._found = {self._path.absolute().name: State.of(status)} if self.single else self._list()
            opened = True
        finally:
            if not opened:
                self._close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of every file, sorted."""
        return tuple(sorted(self._found))

    def holds(self, other: Path) -> str:
        """Return the path that a file on disk has here, empty when it is none of these."""
        try:
            status = other.stat()
        except OSError:
            return ""
        same = (status.st_dev, status.st_ino)
        return next((path for path, state in self._found.items() if (state.device, state.inode) == same), "")

    def size(self, path: str) -> int:
        """Return how many bytes a file had when it was listed."""
        return self._found[path].size

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole file of at most `limit` bytes.

        Raises SourceError when it is longer or cannot be read, UnsafeEntry when it is no file any more.
        """
        descriptor = self._open(path)
        try:
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            self._release(descriptor)
        if len(data) > limit:
            raise SourceError(f"{self._name(path)}: longer than {limit} bytes")
        return data

    def measure(self, plans: Mapping[str, Plan]) -> dict[str, Measured]:
        """Return the files of the plans, measured; the largest are begun first, so that threads end together.

        What was measured before by the same plan is not read again.

        Raises ChangedDuringRead when a file is altered while it is read, twice, or when in the end the files are not
        those that were listed and measured.
        """
        todo = [item for item in plans.items() if item not in self._measured]
        waiting = deque(sorted(todo, key=lambda item: -self._found[item[0]].size))
        workers = min(self._threads, len(waiting))

        def work() -> None:
            buffer = memoryview(bytearray(CHUNK))
            while True:
                try:
                    path, plan = waiting.popleft()
                except IndexError:
                    return
                self._measured[path, plan] = self._measure(path, plan, buffer)

        if workers <= 1:
            work()
        else:
            _share(work, workers, waiting)
        measured = {path: self._measured[path, plan] for path, plan in plans.items()}
        self._refuse_changes({path: state for path, (state, _) in measured.items()})
        return {path: result for path, (_, result) in measured.items()}

    def _measure(self, path: str, plan: Plan, buffer: memoryview) -> tuple[State, Measured]:
        """Return a file measured, and the state that it was in before and after."""
        for _ in range(2):
            descriptor = self._open(path)
            try:
                before = State.of(os.fstat(descriptor))
                result = measure.measure_descriptor(descriptor, measure.simplest(plan, before.size), buffer)
                after = State.of(os.fstat(descriptor))
            except OSError as error:
                raise SourceError(f"{self._name(path)}: {error.strerror or error}") from error
            finally:
                self._release(descriptor)
            if before == after and result.size == before.size:
                return before, result
        raise ChangedDuringRead(
            self._name(path), "somebody writes to it while it is read", "try again when it is still"
        )

    def _refuse_changes(self, measured: Mapping[str, State]) -> None:
        """Raise ChangedDuringRead unless the files are still those that were listed, and as they were measured."""
        now = {next(iter(self._found)): State.of(os.fstat(self._top))} if self.single else self._list()
        differing = [path for path, state in measured.items() if now.get(path) != state]
        differing += sorted(now.keys() ^ self._found.keys())
        if differing:
            raise ChangedDuringRead(
                self._name(differing[0]), "it was changed while the folder was read", "try again when it is still"
            )

    def _open(self, path: str) -> int:
        """Return a descriptor of a listed file; every folder on the way is opened as a folder, none through a link."""
        if self.single:
            os.lseek(self._top, 0, os.SEEK_SET)
            return self._top
        *folders, name = path.split("/")
        parent = self._top
        try:
            try:
                for folder in folders:
                    below = os.open(folder, _FOLDER, dir_fd=parent)
                    if parent != self._top:
                        os.close(parent)
                    parent = below
                descriptor = os.open(name, _FILE, dir_fd=parent)
            finally:
                if parent != self._top:
                    os.close(parent)
        except PermissionError as error:
            raise SourceError(f"{self._name(path)}: {error.strerror}") from error
        except OSError as error:
            raise ChangedDuringRead(self._name(path), f"it was there and is not now: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ChangedDuringRead(self._name(path), "it was a file and is none now")
        return descriptor

    def _release(self, descriptor: int) -> None:
        if descriptor != self._top:
            os.close(descriptor)

    def _list(self) -> dict[str, State]:
        """Return every file below the folder with its state."""
        found: dict[str, State] = {}
        try:
            for count, (path, state) in enumerate(self._walk(self._top, "", 0)):
                if count >= MAX_ENTRIES or len(found) >= MAX_FILES:
                    raise UnsafeEntry(self.where, f"more than {MAX_FILES} files or {MAX_ENTRIES} files and folders")
                if state is not None:
                    found[path] = state
        except OSError as error:
            raise SourceError(f"{self.where}: it cannot be listed: {error.strerror or error}") from error
        return found

    def _walk(self, folder: int, prefix: str, depth: int) -> Iterator[tuple[str, State | None]]:
        """Yield what is below an open folder: files with their state, folders without."""
        if depth > MAX_DEPTH:
            raise UnsafeEntry(self._name(prefix), f"more than {MAX_DEPTH} folders deep")
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            path = prefix + name
            reason = unspeakable(name)
            if reason:
                raise UnsafeEntry(self._name(path), reason, "rename it")
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                yield path, State.of(status)
            elif stat.S_ISDIR(status.st_mode):
                yield path, None
                below = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    yield from self._walk(below, f"{path}/", depth + 1)
                finally:
                    os.close(below)
            else:
                raise UnsafeEntry(
                    self._name(path), f"{_kind(status.st_mode)}, which no signature can cover", "remove it"
                )

    def _name(self, path: str) -> str:
        return self.where if self.single else f"{self.where}: {printable(path)}"


class Stored:
    """Files that were fetched: the entries of their manifest, and where each lies.

    `known` are the sha256 of bytes that were digested just now, as they came or were scanned; they are not read again.
    """

    single = False

    def __init__(
        self, where: str, entries: tuple[Entry, ...], places: Mapping[str, Path], known: frozenset[str]
    ) -> None:
        self.where = where
        self._entries = {entry.path: entry for entry in entries}
        self._places = places
        self._known = known

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of every file, sorted."""
        return tuple(sorted(self._entries))

    def size(self, path: str) -> int:
        """Return how many bytes a file has."""
        return self._entries[path].size

    def read(self, path: str, limit: int) -> bytes:
        """Return a whole file of at most `limit` bytes; raise SourceError when it is longer or was damaged."""
        with Tree(self._places[path]) as tree:
            data = tree.read(tree.paths[0], limit)
        if hashlib.sha256(data).hexdigest() != self._entries[path].sha256:
            raise SourceError(f"{self.where}: {printable(path)}: what lay in the store was damaged")
        return data

    def measure(self, plans: Mapping[str, Plan]) -> dict[str, Measured]:
        """Return the files of the plans; those whose digests are not known are read, one after the other.

        Raises SourceError when a file is not the one that was fetched.
        """
        return {path: self._measure(path, plan) for path, plan in plans.items()}

    def _measure(self, path: str, plan: Plan) -> Measured:
        entry = self._entries[path]
        if entry.sha256 in self._known and measure.simplest(plan, entry.size) == Plan():
            return Measured(size=entry.size, sha256=entry.sha256, digests=(entry.sha256,))
        with Tree(self._places[path]) as tree:
            (measured,) = tree.measure({tree.paths[0]: plan}).values()
        if measured.sha256 != entry.sha256:
            raise SourceError(f"{self.where}: {printable(path)}: what lay in the store was damaged")
        return measured


def collisions(paths: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the pairs of paths that are one where case does not count, as on macOS and Windows."""
    seen: dict[str, str] = {}
    return [(first, path) for path in paths if (first := seen.setdefault(path.casefold(), path)) != path]


def unspeakable(name: str) -> str:
    """Return why a part of a path can be in no signed list, or nothing."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if "\\" in name or any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in name):
        return "its name holds a backslash or a control character"
    return ""


def _kind(mode: int) -> str:
    return next((text for test, text in _KINDS if test(mode)), "no file")


def _share(work: Callable[[], None], workers: int, waiting: deque[tuple[str, Plan]]) -> None:
    """Run `work` in threads; the first that fails leaves nothing for the others."""
    from concurrent.futures import ThreadPoolExecutor

    def run() -> None:
        try:
            work()
        except BaseException:
            waiting.clear()
            raise

    with ThreadPoolExecutor(workers, "digest") as pool:
        for future in [pool.submit(run) for _ in range(workers)]:
            future.result()
