"""The abstract pickle machine: a stream run from its start to STOP, a break or a limit, and told how that ended.

`weighbridge.formats.pickle.loop` goes through the opcodes. A stream that breaks keeps what came before: it would have
run. One that uses what runs of values left out, or breaks inside of one, is run again without taking any.
"""

from __future__ import annotations

import struct
from typing import Final

from weighbridge.errors import LimitError
from weighbridge.formats.pickle.loop import Loop
from weighbridge.formats.pickle.recorder import PARTIAL, PARTIAL_PROTOCOLS
from weighbridge.symbols import Value

ENDED: Final = "the stream ends before STOP"
MEMOIZE: Final = b"\x94"


class Machine(Loop):
    """One run over one stream, from `start` to STOP, a break or a limit."""

    def run(self) -> None:
        """Run the stream; afterwards the attributes hold what it does and how it ended."""
        self._run()
        # What comes before a break would have happened, so it is told value by value.
        if (self.looked and self.broken) or (self.taken and not self.intact()):
            self._run_again()
        if self.protocol in PARTIAL_PROTOCOLS and PARTIAL in self._globals:
            from weighbridge.formats.pickle.constructors import told_as_newobj_ex  # few streams have any

            self.events = told_as_newobj_ex(self.events, [self.result])

    def _run(self) -> None:
        try:
            self._loop()
        except LimitError as error:
            self.limit = error
        except KeyError as error:
            if self.skipped:
                self._run_again()
            else:
                self.broken = f"memo entry {error} does not exist"
        except IndexError:
            past = self.position - self.shift + 9 > len(self.view)
            self.broken = ENDED if past else "an opcode finds no value on the stack"
        except (EOFError, struct.error):
            self.broken = ENDED
        except ValueError as error:
            self.broken = str(error)

    def _run_again(self) -> None:
        """Run without taking runs in one step: the stream uses what this may have left out."""
        self.records = False
        self._reset()
        self._run()

    def again(self) -> Machine:
        """Return a machine for the same stream that takes no runs."""
        return Machine(
            self.view,
            self.start,
            self.origin,
            self.budget,
            interleaved=self.interleaved,
            framed=self.framed,
            records=False,
        )

    def _run_inner(self, start: int) -> tuple[int, Value]:
        # joblib leaves this one to plain pickle, which reads no arrays behind wrappers.
        inner = Machine(
            self.view,
            start,
            self.origin,
            self.budget,
            interleaved=False,
            framed=self.framed,
            records=self.records,
        )
        inner.run()
        self.elided = self.elided or inner.elided
        self.straddles = self.straddles or inner.straddles
        self.taken |= inner.taken
        self.events += inner.events
        self.anomalies += inner.anomalies
        self.literals += inner.literals
        # Plain pickle reads on with the memo of the stream around it, where this opcode counts from another number.
        if not inner.complete or MEMOIZE in bytes(self.view[start : inner.position]):
            self._part(start)
        if inner.limit is not None:
            raise inner.limit
        if not inner.complete:
            raise ValueError(f"in an object array: {inner.broken}")
        if self.inner_end is None:
            self.inner_end = inner.position
        return inner.position, inner.result
