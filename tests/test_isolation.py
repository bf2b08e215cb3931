"""The sandbox: every test restricts a child process, and what is forbidden is tried there."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from loading import Part, approved_folder, packed

import weighbridge
from weighbridge.errors import UsageError
from weighbridge.isolation import LAYERS, lockdown, missing_layers
from weighbridge.isolation.calls import CALLS
from weighbridge.isolation.landlock import version
from weighbridge.isolation.seccomp import program

LINUX = sys.platform.startswith("linux") and platform.machine() in ("x86_64", "aarch64")
linux = pytest.mark.skipif(not LINUX, reason="the layers are Linux's")

_HEAD = """
import ctypes, errno, hashlib, json, mmap, os, resource, signal, socket, subprocess, sys, threading
import weighbridge
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
found = {}
def attempt(name, act):
    try:
        act()
    except OSError as error:
        found[name] = errno.errorcode.get(error.errno, str(error.errno))
    except (MemoryError, ValueError) as error:
        found[name] = type(error).__name__
    else:
        found[name] = "done"
"""


def child(program: str, *arguments: object, status: int = 0) -> Any:
    """Run a program in a process of its own and return the JSON that it prints."""
    script = _HEAD + textwrap.dedent(program) + "\nprint(json.dumps(found))"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if status == 0 else None


@linux
def test_each_forbidden_act_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("secret")
    found = child(
        """
        there, new = sys.argv[1] + "/there", sys.argv[1] + "/new"
        report = weighbridge.lockdown(memory=4 << 30)
        found["active"] = report.active
        attempt("read", lambda: open(there))
        attempt("list", lambda: os.listdir(sys.argv[1]))
        attempt("write", lambda: open(new, "w"))
        attempt("remove", lambda: os.unlink(there))
        attempt("rename", lambda: os.rename(there, new))
        attempt("link", lambda: os.link(there, new))
        attempt("mode", lambda: os.chmod(there, 0o777))
        attempt("folder", lambda: os.mkdir(new))
        attempt("fork", lambda: os.fork())
        attempt("exec", lambda: os.execv("/bin/true", ["true"]))
        attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
        attempt("subprocess", lambda: subprocess.run(["/bin/true"]))
        attempt("tcp", lambda: socket.socket())
        attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        attempt("unix", lambda: socket.socket(socket.AF_UNIX))
        attempt("kill", lambda: os.kill(os.getppid(), 0))
        attempt("ptrace", lambda: call(101, 16, os.getppid(), 0, 0))
        attempt("another's limits", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE))
        attempt("another's memory", lambda: call(310, os.getppid(), 0, 0, 0, 0, 0))
        attempt("io_uring", lambda: call(425, 1, 0))
        attempt("namespace", lambda: call(272, 0x10000000))
        attempt("memory", lambda: bytearray(5 << 30))
        attempt("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)))
        """,
        tmp_path,
    )
    active = found.pop("active")
    assert {"rlimits", "undumpable", "no_new_privs", "seccomp"} <= set(active)
    assert found.pop("memory") == "MemoryError"
    assert found.pop("raise a limit") in ("ValueError", "done")  # root may, for itself
    assert {name: answer for name, answer in found.items() if answer not in ("EPERM", "EACCES")} == {}
    assert (tmp_path / "there").read_text() == "secret"


@linux
def test_what_computing_and_reading_need_is_possible(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"bytes")
    found = child(
        """
        there = open(sys.argv[1] + "/there", "rb")
        out = open(sys.argv[1] + "/out", "wb")
        weighbridge.lockdown()
        attempt("read what is open", lambda: hashlib.sha256(there.read()).hexdigest())
        attempt("write what is open", lambda: (out.write(b"made"), out.flush(), os.fsync(out.fileno())))
        attempt("map", lambda: mmap.mmap(there.fileno(), 0, access=mmap.ACCESS_READ)[:])
        attempt("much memory", lambda: bytearray(64 << 20))
        def threads():
            one = threading.Thread(target=bytearray, args=(1 << 20,))
            one.start()
            one.join()
        attempt("threads", threads)
        attempt("memfd", lambda: os.memfd_create("x"))
        attempt("pipe", lambda: os.pipe())
        attempt("random", lambda: os.urandom(8))
        """,
        tmp_path,
    )
    assert set(found.values()) == {"done"}
    assert (tmp_path / "out").read_bytes() == b"made"


@linux
def test_named_folders_can_be_read_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"bytes")
    (tmp_path / "other").write_bytes(b"secret")
    (tmp_path / "model" / "out").symlink_to(tmp_path / "other")
    found = child(
        """
        os.chdir(sys.argv[1])
        found["landlock"] = weighbridge.lockdown(read=["model"]).landlock
        attempt("named", lambda: open("model/weights", "rb").read())
        attempt("listed", lambda: os.listdir("model"))
        attempt("other", lambda: open("other"))
        attempt("link", lambda: open("model/out"))
        attempt("written", lambda: open("model/weights", "r+b"))
        attempt("truncated", lambda: os.open("model/weights", os.O_RDONLY | os.O_TRUNC))
        attempt("made", lambda: open("model/new", "wb"))
        """,
        tmp_path,
    )
    landlocked = found.pop("landlock") > 0
    outside = "EACCES" if landlocked else "done"
    assert (found.pop("other"), found.pop("link")) == (outside, outside)
    assert (found.pop("named"), found.pop("listed")) == ("done", "done")
    assert set(found.values()) <= {"EPERM", "EACCES"}


@linux
def test_approved_models_can_be_loaded_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    weights = packed({"w": Part("F32", (1 << 19,), bytes(4 << 19))})
    approved_folder(tmp_path / "model", {"config.json": b"{}", "model.safetensors": weights})
    found = child(
        """
        import numpy
        weighbridge.lockdown(read=[sys.argv[1] + "/model", sys.argv[1] + "/config"], imports=True)
        with weighbridge.guard():
            for mode in ("stream", "lazy"):
                found[mode] = weighbridge.load(sys.argv[1] + "/model", mode=mode)["w"].shape
        """,
        tmp_path,
    )
    assert found == {"stream": [1 << 19], "lazy": [1 << 19]}


@linux
def test_threads_that_run_already_are_restricted_too(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("secret")
    found = child(
        """
        go, gone = threading.Event(), threading.Event()
        def other():
            go.wait()
            attempt("socket", lambda: socket.socket())
            attempt("open", lambda: open(sys.argv[1]))
            gone.set()
        thread = threading.Thread(target=other)
        thread.start()
        report = weighbridge.lockdown()
        found["missing"] = report.missing
        go.set()
        thread.join()
        """,
        tmp_path / "there",
    )
    missing = found.pop("missing")
    assert found.pop("socket") == "EPERM"
    assert found.pop("open") in ("EPERM", "EACCES")
    if 0 < version() < 8:
        assert "does not bind the 1 threads" in missing["landlock"]


@linux
def test_a_required_layer_that_is_missing_restricts_nothing() -> None:
    found = child(
        """
        import weighbridge.isolation
        from weighbridge.refusals import IsolationMissing
        weighbridge.isolation._landlock = lambda: 0
        try:
            weighbridge.lockdown(require=["landlock"])
        except IsolationMissing as error:
            found["refused"] = str(error)
        attempt("open", lambda: open(sys.executable, "rb").close())
        """
    )
    assert found["refused"].startswith("lockdown: landlock: ")
    assert found["refused"].endswith("[LOAD_ISOLATION]; run it on a system that has it, or do without")
    assert found["open"] == "done"


@linux
def test_a_layer_that_the_kernel_refuses_is_told() -> None:
    found = child(
        """
        from weighbridge.isolation import seccomp
        from weighbridge.refusals import IsolationMissing
        def refused(*arguments, **options):
            raise OSError(errno.EBUSY, "thread 7 cannot be restricted")
        seccomp.install = refused
        found["missing"] = weighbridge.lockdown().missing
        try:
            weighbridge.lockdown(require=["seccomp"])
        except IsolationMissing as error:
            found["refused"] = str(error)
        """
    )
    assert found["missing"]["seccomp"] == "the kernel refuses: thread 7 cannot be restricted"
    assert "seccomp: the kernel refuses" in found["refused"]


@linux
def test_the_wrong_abi_is_killed() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("x32 is x86_64's")
    child("weighbridge.lockdown(); call(0x40000000 + 39)", status=-31)


@linux
def test_limits_hold(tmp_path: Path) -> None:
    found = child(
        """
        out = open(sys.argv[1], "wb", buffering=0)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        weighbridge.lockdown(descriptors=16, file_size=1000)
        attempt("long", lambda: [out.write(bytes(600)) for _ in range(3)])
        attempt("many", lambda: [os.dup(1) for _ in range(32)])
        """,
        tmp_path / "out",
    )
    assert found == {"long": "EFBIG", "many": "EMFILE"}
    assert (tmp_path / "out").stat().st_size == 1000


@linux
def test_the_rights_of_a_command_are_dropped() -> None:
    found = child(
        """
        from weighbridge.isolation import drop_privileges
        found["active"] = drop_privileges().active
        program = ["grep", "NoNewPrivs", "/proc/self/status"]
        found["status"] = subprocess.run(program, capture_output=True).stdout.decode()
        """
    )
    assert found["active"] == ["rlimits", "no_new_privs"]
    assert found["status"].split() == ["NoNewPrivs:", "1"]


def test_an_unknown_layer_and_a_missing_path_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"they are {', '.join(LAYERS)}"):
        lockdown(require=["chroot"])
    with pytest.raises(UsageError, match="no such file"):
        lockdown(read=[tmp_path / "none"])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_alone(machine: str) -> None:
    place = ("x86_64", "aarch64").index(machine)
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    listed = {numbers[place]: name for name, numbers in CALLS.items()}
    filter_ = list(program(machine, 77, reading=True, openat2=True))
    assert len(filter_) < 4096
    conditional = {"clone", "clone3", "tgkill", "prlimit64", "ioctl", "openat"}
    for number in range(600):
        answer = _run(filter_, number, architecture, (0, 0, 0o100, 0))
        if number not in listed:
            assert answer == 0x50001
        elif listed[number] not in conditional:
            assert answer == 0x7FFF0000, listed[number]
    numbers = {name: numbers[place] or 0 for name, numbers in CALLS.items()}
    assert _run(filter_, numbers["clone"], architecture, (0x3D0F00,)) == 0x7FFF0000
    assert _run(filter_, numbers["clone"], architecture, (17,)) == 0x50001
    assert _run(filter_, numbers["tgkill"], architecture, (77,)) == 0x7FFF0000
    assert _run(filter_, numbers["tgkill"], architecture, (78,)) == 0x50001
    assert _run(filter_, numbers["clone3"], architecture, ()) == 0x50026
    assert _run(filter_, numbers["openat"], architecture, (0, 0, 0o2000000)) == 0x7FFF0000
    assert _run(filter_, 1, 0x40000003, ()) == 0x80000000


def _run(filter_: list[tuple[int, int, int, int]], number: int, architecture: int, arguments: tuple[int, ...]) -> int:
    """Return what a filter answers; the packet filter as linux/filter.h has it."""
    words = {0: number, 4: architecture} | {16 + 8 * place: value for place, value in enumerate(arguments)}
    accumulator = place = 0
    while True:
        code, true, false, constant = filter_[place]
        place += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            accumulator = words.get(constant, 0)
        else:
            tests = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}
            place += true if tests[code] else false


@linux
def test_the_numbers_are_those_of_the_headers_of_this_system() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if platform.machine() != "x86_64" or not header.exists():
        pytest.skip("there are no headers of the kernel")
    known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
    assert {name: one for name, (one, _) in CALLS.items() if known.get(name, one) != one} == {}


def test_it_is_there_for_the_asking() -> None:
    assert weighbridge.lockdown is lockdown


@pytest.mark.skipif(not LINUX or not 0 < version() < 8, reason="it is not to be had, or binds all threads")
def test_where_nobody_tells_how_many_threads_run_landlock_is_not_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.isolation._TASKS", Path("/nowhere"))
    assert "threads, if there are any, that run beside this one" in missing_layers()["landlock"]
