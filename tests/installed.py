"""The command as somebody has it who installed the wheel: an environment of its own, without the checkout or a network.

What the package depends on is that of the environment in which the tests run; the package itself is the wheel's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from servers.fake_hub import FakeHub

from fixtures.demo import environment
from fixtures.registry import FOLDER, models

TREE = Path(__file__).resolve().parent.parent
PUBLISHED = TREE / "fixtures" / FOLDER
ENVIRONMENT = "environment"
TIMEOUT = 120  # seconds; nothing here takes more than a few

# Every process of the environment imports it when it starts: an address other than 127.0.0.1 is written down, for
# the test to see whatever the program makes of the error, and refused.
_ALONE = """\
import os, sys

LOG = os.environ["REFUSED"]
WHERE = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.bind": 1,
         "socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}

def refuse(event, arguments):
    if event in WHERE:
        address = arguments[WHERE[event]]
        host = address[0] if isinstance(address, tuple) else address
        if host not in ("127.0.0.1", b"127.0.0.1"):
            with open(LOG, "a") as log:
                log.write(f"{sys.argv}: {event} {address!r}\\n")
            raise PermissionError(f"the test has no network: {event} {address!r}")

sys.addaudithook(refuse)
"""
# The first words of a command that is to have no network at all, not even one of its own machine.
CUT_OFF = ("unshare", "--map-root-user", "--net")
# What raises the network of the machine itself in such a place, and becomes the rest of the command.
ITSELF_ALONE = (
    sys.executable,
    "-c",
    "import fcntl, os, socket, struct, sys\n"
    "up = struct.pack('16sh', b'lo', 0x41)\n"  # netdevice(7): IFF_UP | IFF_RUNNING
    "fcntl.ioctl(socket.socket(), 0x8914, up)\n"  # SIOCSIFFLAGS
    "os.execv(sys.argv[1], sys.argv[1:])",
)


def build(folder: Path) -> None:
    """Build the wheel, and install it into a new environment that refuses networks."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=TREE, check=True, capture_output=True, timeout=TIMEOUT)
    (wheel,) = folder.glob("*.whl")
    place = folder / ENVIRONMENT
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=TIMEOUT)
    install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(place / "bin/python")]
    install += ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=TIMEOUT)
    (site,) = place.glob("lib/python*/site-packages")
    # Files of paths that lie in a folder added by one are not read, so nothing is installed editable here.
    (site / "dependencies.pth").write_text("".join(f"{sysconfig.get_path(name)}\n" for name in ("purelib", "platlib")))
    (site / "alone.py").write_text(_ALONE)
    (site / "alone.pth").write_text("import alone\n")


@cache
def can_be_cut_off() -> bool:
    """Tell whether the system gives a process a network of its own."""
    if shutil.which(CUT_OFF[0]) is None:
        return False
    return subprocess.run([*CUT_OFF, "true"], check=False, capture_output=True, timeout=TIMEOUT).returncode == 0


class Person:
    """Somebody who has the command, a home of their own, and a Hub with the three models of the fixtures."""

    def __init__(self, environment_: Path, home: Path, hub: FakeHub) -> None:
        self.python, self.command = environment_ / "bin/python", environment_ / "bin/weighbridge"
        self.home, self.hub = home, hub
        self.refused = home / "refused.log"
        told = {**environment(home, hub.url), "REFUSED": str(self.refused)}
        # How the tests themselves are run and measured is nothing that a person has.
        self.environment = {name: value for name, value in told.items() if not name.startswith(("COV", "PYTHON"))}

    def run(self, *words: str | Path, cut_off: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
        """Return what the command did; `cut_off` takes the network away from it where the system can."""
        return self.process(self.command, *words, cut_off=cut_off, **options)

    def process(self, *words: str | Path, cut_off: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
        """Return what a program of the environment did."""
        before = CUT_OFF if cut_off and can_be_cut_off() else ()
        given: dict[str, Any] = {"capture_output": True, **self.ways, **options}
        return subprocess.run([*before, *words], check=False, timeout=TIMEOUT, **given)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start the command and return it."""
        return subprocess.Popen([self.command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **self.ways)

    def believe(self) -> None:
        """Trust the publisher of the fixtures to sign models, and a new key of one's own to approve them.

        What is trusted stands in trust.toml, which is nobody's until the environment names it.
        """
        self.run("key", "init")
        for name in ("trust.toml", "publisher.pub.pem"):
            shutil.copy(PUBLISHED / name, self.home)

    @property
    def ways(self) -> dict[str, Any]:
        """Where every process runs, and with what."""
        return {"cwd": self.home, "env": self.environment, "text": True, "encoding": "utf-8"}


def furnish(folder: Path) -> None:
    """Put into a folder all that people have in common: the environment, and a home with a key and what is trusted."""
    build(folder)
    home = folder / "home"
    home.mkdir()
    with FakeHub() as hub:
        Person(folder / ENVIRONMENT, home, hub).believe()


@contextmanager
def at_home(furnished: Path, home: Path) -> Iterator[Person]:
    """Give a person; what they did has asked for no network by the end."""
    shutil.copytree(furnished / "home", home)
    with FakeHub() as hub:
        for name, held in models().items():
            hub.publish(name, held)
        person = Person(furnished / ENVIRONMENT, home, hub)
        person.environment["WEIGHBRIDGE_TRUST"] = str(home / "trust.toml")
        yield person
        assert not hub.leaks
    assert not person.refused.exists(), person.refused.read_text()
