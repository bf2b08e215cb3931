r"""Values of one shape, one after another: a table of a million rows is one shape a million times over.

The opcodes of one value (`{'id': 7, 'name': 'x'}`, `Point(1, 2)`, `datetime(…)`) become a regular expression with the
operands left open, and the regular expression engine steps over all values of that shape in a fifth of the time that
the machine takes. One symbolic value, its numbers and texts elided, stands for each of them, and what each does when it
is loaded is one set of events, counted.

A template takes values that need nothing from the stack and leave one value on it, so it may be used wherever the
machine stands. What it refers to in the memo is the same for all of them; what it puts there is left out, and a stream
that asks for it later is run again without templates. So is one that changes a value that stands for many.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Final

from weighbridge.formats.pickle.items import running
from weighbridge.formats.pickle.learner import PUT, TEXT, Learner, learn, plain
from weighbridge.formats.pickle.recorder import Recorder
from weighbridge.symbols import Call, Dict, Set, Value

KEY: Final = "the key of a value, as a whole"
_GROWING: Final = (list, Dict, Set)


class Template:
    """The shape of a value, or of a key and a value, and what stands for each.

    `many` matches a run of them and `one` each; `groups` says what the groups of these are. `values` stand for one, and
    `events` are what it does; it makes `entries` memo entries and `made` values, and refers to the memo entries
    `bound`. `keyed` says that keys are read, not elided. `seen` counts those that the machine has run itself.
    """

    __slots__ = ("bound", "entries", "events", "groups", "keyed", "made", "many", "one", "seen", "state", "values")

    def __init__(self, learnt: Learner) -> None:
        self.many, self.one = _compiled(learnt.pattern)
        self.values = tuple(learnt.stack)
        self.events = tuple(learnt.events)
        self.entries = learnt.entries
        self.made = learnt.made
        self.bound = learnt.bound
        self.keyed = learnt.keyed
        self.groups = [KEY, *learnt.groups] if learnt.keyed else learnt.groups
        self.seen = 0
        self.state = [_state(value) for value in self.values]

    def binds(self, memo: dict[int, Value]) -> bool:
        """Tell whether what the template refers to is still what the memo holds."""
        return all(memo.get(index, self) is value for index, value in self.bound.items())

    def match(self, buf: bytes, i: int, limit: int, index: int) -> tuple[int, list[bytes]]:
        """Return where a run at `i` ends and the first token of each part of it.

        There is none when its memo entries are named otherwise than by numbers that run on from `index`, or when a text
        is no UTF-8, at which loading breaks.
        """
        end = self.reach(buf, i, limit)
        found = self.one.findall(buf, i, end)
        if not found or not self.groups:
            return end, found
        columns = [found] if len(self.groups) == 1 else list(zip(*found, strict=True))
        texts, puts = self._columns(TEXT, columns), self._columns(PUT, columns)
        if texts and not _readable(list(chain.from_iterable(texts))):
            return i, []
        # The entries of one value follow one another, and those of the next come behind them.
        if puts and not running(list(chain.from_iterable(zip(*puts, strict=True))), index):
            return i, []
        return end, list(columns[0])

    def _columns(self, kind: str, columns: Sequence[Sequence[bytes]]) -> list[Sequence[bytes]]:
        return [column for group, column in zip(self.groups, columns, strict=False) if group == kind]

    def reach(self, buf: bytes, i: int, limit: int) -> int:
        """Return where a run at `i` ends."""
        run = self.many.match(buf, i, limit)
        return i if run is None else run.end()

    def past(self, buf: bytes, i: int, limit: int, count: int) -> int:
        """Return where the first `count` of a run at `i` end."""
        for _ in range(count):
            one = self.one.match(buf, i, limit)
            i = i if one is None else one.end()
        return i

    def stand_ins(self, firsts: list[bytes]) -> list[Value]:
        """Return the values of a run."""
        if not self.keyed:
            return [*self.values] * len(firsts)
        return list(chain.from_iterable(zip(map(plain, firsts), repeat(self.values[1]), strict=False)))

    def intact(self) -> bool:
        """Tell whether what stands for many is what it was."""
        return all(_state(value) == state for value, state in zip(self.values, self.state, strict=True))


@lru_cache(maxsize=64)
def _compiled(pattern: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    return re.compile(b"(?:" + pattern + b")++", re.DOTALL), re.compile(pattern, re.DOTALL)


def _readable(texts: list[bytes]) -> bool:
    """Tell whether texts, each behind its length, are UTF-8; a length is a character that parts them, up to 127."""
    try:
        b"".join(texts).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return max(texts)[0] > 127 and _each_readable(texts)
    return True


def _each_readable(texts: list[bytes]) -> bool:
    try:
        for text in texts:
            text[1:].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _state(value: Value) -> object:
    if isinstance(value, _GROWING):
        return len(value)
    return id(value.state) if type(value) is Call else None


def alike(
    buf: bytes, begins: Sequence[int], limit: int, memo: dict[int, Value], width: int, recorder: Recorder
) -> Template | None:
    """Return the template of two values, if they are of one shape; `begins` says where they and the next begin.

    What is the same in both arguments of a call is taken to be the same in all, as long as they are.
    """
    i, second, third = begins
    for loose in (False, True):
        first = learn(buf, i, second, memo, width, recorder, loose=loose)
        if first is None:
            return None
        other = learn(buf, second, third, memo, width, recorder, loose=loose)
        if other is None or other.pattern != first.pattern:
            continue
        template = Template(first)
        fixed = [one == another for one, another in zip(first.literals, other.literals, strict=False)]
        if first.events and any(fixed) and len(first.literals) == len(other.literals):
            narrow = learn(buf, i, second, memo, width, recorder, loose=loose, fixed=fixed)
            if narrow is not None:
                closer = Template(narrow)
                if closer.reach(buf, i, limit) == template.reach(buf, i, limit):
                    return closer
        return template
    return None
