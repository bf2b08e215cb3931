"""What the hostile half of the corpus would run, and the shape of a sample.

Every payload is inert: it would echo a word or evaluate a constant if somebody loaded the file, which nothing here
does. Files are assembled from opcodes, so the modules they name need not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fixtures.assemble import P0, P2, P4, Ops, Spelling

COMMAND = "echo weighbridge"
SPELLINGS = (P0, P2, P4)


@dataclass(frozen=True)
class Payload:
    """A call that a file smuggles in."""

    module: str
    name: str
    arguments: tuple[object, ...] = (COMMAND,)

    @property
    def label(self) -> str:
        """A name fit for a file."""
        return f"{self.module}.{self.name}".replace(".", "-")

    def imported(self, write: Spelling) -> Ops:
        """Return the import alone."""
        return write.name(self.module, self.name)

    def call(self, write: Spelling) -> Ops:
        """Return the call, whose result is left on the stack."""
        return write.call(self.imported(write), *self.arguments)


@dataclass(frozen=True)
class Sample:
    """One hostile file: `label` is the technique, `make` returns its bytes."""

    name: str
    label: str
    make: Callable[[], bytes]


SYSTEM = Payload("os", "system")
# The last ones are on no list of dangerous names: only default deny stops them.
PAYLOADS = (
    SYSTEM,
    Payload("posix", "system"),
    Payload("__builtin__", "eval", ("1 + 1",)),
    Payload("subprocess", "Popen", (("true",),)),
    Payload("runpy", "run_module", ("weighbridge_inert",)),
    Payload("weighbridge_unlisted.module", "run"),
)
# Called with a stream's spelling; one for each payload, spelled as a pickler of that protocol would.
Technique = Callable[[Payload, Spelling], bytes]


def cross(
    family: str, techniques: dict[str, Technique], payloads: tuple[Payload, ...] = PAYLOADS, suffix: str = "pkl"
) -> list[Sample]:
    """Return each technique with each payload; the spelling goes round with the payloads."""
    samples: list[Sample] = []
    for label, technique in techniques.items():
        for index, payload in enumerate(payloads):
            write = SPELLINGS[(index + len(samples)) % len(SPELLINGS)]
            name = f"{family}/{label}-{payload.label}-p{write.protocol}.{suffix}"
            samples.append(Sample(name, f"{family}/{label}", bind(technique, payload, write)))
    return samples


def bind(technique: Technique, payload: Payload, write: Spelling) -> Callable[[], bytes]:
    """Return the technique applied to its arguments, to be run when the file is written."""
    return lambda: technique(payload, write)
