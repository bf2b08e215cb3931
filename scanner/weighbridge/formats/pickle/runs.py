"""Where the machine looks for runs of values of one shape, and when it stops looking.

It looks where a list or dict is filled. A look that finds nothing costs as much as fifty opcodes, so each depth of
nesting has its own patience: a table is found at its depth whatever the small lists inside its rows are like.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from weighbridge.formats.pickle.items import take_longs, take_members
from weighbridge.formats.pickle.outline import single, starts
from weighbridge.formats.pickle.recorder import Recorder
from weighbridge.formats.pickle.templates import Template, alike
from weighbridge.symbols import ELIDED_INT, Call, Dict, Items, Run, Set, State, Value

LEAST: Final = 8  # values that make a run worth a regular expression
LEAST_BYTES: Final = 1 << 12
LONG1: Final = 0x8A
MEMBERS: Final = frozenset(b"\x8cXChjNGKMJ\x88\x89\x8a")  # literals, memo entries and LONG1
LARGE: Final = frozenset({list, Dict, Set, Call})  # what may get many values: a call may have made a mapping
DEPTHS: Final = 16  # marks that may be open
TRIES: Final = 4  # values that fit no template before the rest of a container is left to the machine
TEMPLATES_LIMIT: Final = 256  # of one stream: making one takes milliseconds, and tables are few
LONGEST_WAIT: Final = 64  # containers at one depth that are passed by after looks in vain
AHEAD: Final = 8  # values behind the next that are outlined: what is still on its way into a call is not told apart
# Of what happens again and again the first times are told one by one, so the machine runs the first values of a run
# itself: 20 are listed in a report (`weighbridge.judgement.OCCURRENCES`), the next shows that they are enough.
TOLD: Final = 24


class Runner(Recorder):
    """The part of the machine that steps over runs. Positions that outlast a window count from the view's start."""

    def _reset(self) -> None:
        super()._reset()
        self.looked = False
        self.waits = [0] * DEPTHS  # containers to pass by, per depth
        self.taken: dict[int, Template] = {}  # the templates whose values stand for many, by identity
        self._patience = [0] * DEPTHS
        self._known: list[Template | None] = [None] * DEPTHS
        self._learnt = 0
        self._pending: list[tuple[int, int, int]] = []  # (position, depth, tries) of places to look again

    def look(
        self,
        i: int,
        limit: int,
        stack: list[Value],
        marks: list[int],
        memo: dict[int, Value],
        tries: int = TRIES,
    ) -> tuple[int, int, int]:
        """Step over the run at `i`; return where it ends, where to stop next, and how many values were made."""
        self.looked = True
        target = stack[marks[-1] - 1]
        depth, width = len(marks), 1 if type(target) in (list, Set) else 2
        if width == 2 and (len(stack) - marks[-1]) & 1:
            return i, limit, 0
        template = self._known[depth]
        if template is not None and len(template.values) == width and template.binds(memo) and type(target) is not Set:
            end, firsts = template.match(self.buffer, i, limit, len(memo) + self.skipped)
            if len(firsts) >= LEAST:
                return self._step(template, i, limit, end, firsts, stack, depth)
        return self._search(i, limit, stack, depth, memo, width, tries, plain=type(target) is Set)

    def resume(
        self, i: int, limit: int, stack: list[Value], marks: list[int], memo: dict[int, Value]
    ) -> tuple[int, int, int]:
        """Look again if this is a place to; return what `look` does."""
        made = 0
        here = i + self.base
        while self._pending and self._pending[-1][0] <= here:
            position, depth, tries = self._pending.pop()
            if position == here and depth == len(marks) and self.fills(stack, marks):
                i, limit, made = self.look(i, limit, stack, marks, memo, tries)
                break
        return i, self.stop(limit), made

    def fills(self, stack: list[Value], marks: list[int]) -> bool:
        """Tell whether the values above the last mark are on their way into something that may be large."""
        return bool(marks) and marks[-1] > 0 and type(stack[marks[-1] - 1]) in LARGE

    def stop(self, limit: int) -> int:
        """Return `limit`, or where to look again if that is before it."""
        return min(limit, self._pending[-1][0] - self.base) if self._pending else limit

    def intact(self) -> bool:
        """Tell whether every value that stands for many is still what it was when it began to."""
        if not all(template.intact() for template in self.taken.values()):
            return False
        ids = {id(value) for template in self.taken.values() for value in template.values if type(value) is Call}
        return not ids or not any(isinstance(event, State | Items) and id(event.target) in ids for event in self.events)

    def _search(
        self,
        i: int,
        limit: int,
        stack: list[Value],
        depth: int,
        memo: dict[int, Value],
        width: int,
        tries: int,
        *,
        plain: bool,
    ) -> tuple[int, int, int]:
        """Look for a new template, or for plain members; return what `look` does."""
        begins = starts(self.buffer, i, len(self.buffer), 2 * width + AHEAD)
        if len(begins) <= 2 * width:
            return i, self._give_up(limit, depth), 0
        places = begins[0], begins[width], begins[2 * width]
        template = None
        literal = width == 1 and all(single(self.buffer, *pair) for pair in pairwise(places))
        if not plain and not literal and self._learnt < TEMPLATES_LIMIT:
            template = alike(self.buffer, places, limit, memo, width, self)
            self._learnt += template is not None
        if template is not None:
            end, firsts = template.match(self.buffer, i, limit, len(memo) + self.skipped)
            if len(firsts) >= LEAST:
                self._known[depth] = template
                return self._step(template, i, limit, end, firsts, stack, depth)
        elif literal and self.buffer[i] in MEMBERS:
            before, i = len(stack), self._members(i, limit, memo, stack)
            if len(stack) - before >= LEAST:
                return i, self._look_behind(i, limit, depth, width), 0
        if tries > 1 and not self._patience[depth] and begins[width] >= i:
            return i, self._look_again(begins[width], limit, depth, tries - 1), 0
        return i, self._give_up(limit, depth), 0

    def _members(self, i: int, limit: int, memo: dict[int, Value], stack: list[Value]) -> int:
        """Take plain members of a list or set; return where they end."""
        if self.buffer[i] != LONG1:
            return take_members(self.buffer, i, limit, memo, self.skipped, stack)
        i, count = take_longs(self.buffer, i, limit)
        stack += [ELIDED_INT] * count
        self.elided = True
        return i

    def _step(
        self, template: Template, i: int, limit: int, end: int, firsts: list[bytes], stack: list[Value], depth: int
    ) -> tuple[int, int, int]:
        """Take a run, or leave its first values to the machine, which tells what they do one by one."""
        if template.events and template.seen < TOLD:
            told = min(TOLD - template.seen, len(firsts))
            template.seen += told
            return i, self._look_again(template.past(self.buffer, i, limit, told), limit, depth, TRIES), 0
        stack += template.stand_ins(firsts)
        self.taken[id(template)] = template
        self.elided = True
        self.skipped += template.entries * len(firsts)
        if template.events:
            self.events.append(Run(self.origin, self._at(i), template.events, len(firsts)))
        return end, self._look_behind(end, limit, depth, len(template.values)), template.made * len(firsts)

    def _look_behind(self, i: int, limit: int, depth: int, width: int) -> int:
        """Look again behind the value that ended a run, if one did."""
        self._patience[depth] = 0
        begins = starts(self.buffer, i, len(self.buffer), width + AHEAD)
        return self._look_again(begins[width], limit, depth, TRIES) if len(begins) > width else limit

    def _look_again(self, i: int, limit: int, depth: int, tries: int) -> int:
        self._pending.append((i + self.base, depth, tries))
        return min(limit, i)

    def _give_up(self, limit: int, depth: int) -> int:
        """Leave the rest of this container to the machine, and pass by more and more of its kind."""
        self.waits[depth] = self._patience[depth] = min(2 * self._patience[depth] + 1, LONGEST_WAIT)
        return limit
