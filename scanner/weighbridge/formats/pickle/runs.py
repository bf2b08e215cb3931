"""Where the machine looks for runs of values of one shape, and when it stops looking.

It looks where a list or dict is filled. A look that finds nothing costs as much as fifty opcodes, so each depth of
nesting has its own patience: a table is found at its depth whatever the small lists inside its rows are like.
"""

from __future__ import annotations

from typing import Final

from weighbridge.formats.pickle.items import take_members
from weighbridge.formats.pickle.outline import starts
from weighbridge.formats.pickle.recorder import Recorder
from weighbridge.formats.pickle.templates import Template, learn
from weighbridge.symbols import Call, Dict, Items, Run, Set, State, Value

LEAST: Final = 8  # values that make a run worth a regular expression
LEAST_BYTES: Final = 1 << 12
MEMBERS: Final = b"\x8cC\x8a"  # SHORT_BINUNICODE, SHORT_BINBYTES, LONG1
DEPTHS: Final = 16  # marks that may be open
TRIES: Final = 4  # values that fit no template before the rest of a container is left to the machine
LONGEST_WAIT: Final = 64  # containers at one depth that are passed by after looks in vain
AHEAD: Final = 4  # values behind the next that are outlined: an opcode may still reach for the three below it
# Of what happens again and again the first times are told one by one, so the machine runs the first values of a run
# itself: 20 are listed in a report (`weighbridge.rules.OCCURRENCES`), the next shows that they are enough.
TOLD: Final = 24


class Runner(Recorder):
    """The part of the machine that steps over runs. Positions that outlast a window count from the view's start."""

    def _reset(self) -> None:
        super()._reset()
        self.waits = [0] * DEPTHS  # containers to pass by, per depth
        self.taken: dict[int, Template] = {}  # the templates whose values stand for many, by identity
        self._patience = [0] * DEPTHS
        self._known: list[Template | None] = [None] * DEPTHS
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
        target = stack[marks[-1] - 1]
        depth, width = len(marks), 2 if type(target) is Dict else 1
        if width == 2 and (len(stack) - marks[-1]) & 1:  # the machine stands at the value of a key
            begins = starts(self.buffer, i, len(self.buffer), 2 + AHEAD)
            far = len(begins) > 2 and tries > 1
            return i, self._look_again(begins[1], limit, depth, tries) if far else self._give_up(limit, depth), 0
        template = self._known[depth]
        if template is not None and len(template.values) == width and template.binds(memo) and type(target) is not Set:
            end, firsts = template.match(self.buffer, i, limit)
            if len(firsts) >= LEAST:
                return self._step(template, i, limit, end, firsts, stack, depth)
        begins = starts(self.buffer, i, len(self.buffer), 2 * width + AHEAD)
        if len(begins) <= 2 * width:
            return i, self._give_up(limit, depth), 0
        template = None if type(target) is Set else self._learn(i, begins[width], begins[2 * width], memo, width)
        if template is not None:
            end, firsts = template.match(self.buffer, i, limit)
            if len(firsts) >= LEAST:
                self._known[depth] = template
                return self._step(template, i, limit, end, firsts, stack, depth)
        elif width == 1 and self.buffer[i] in MEMBERS:
            before, i = len(stack), take_members(self.buffer, i, limit, memo, self.skipped, stack)
            if len(stack) - before >= LEAST:
                return i, self._look_behind(i, limit, depth, width), 0
        if tries > 1 and begins[width] >= i:
            return i, self._look_again(begins[width], limit, depth, tries - 1), 0
        return i, self._give_up(limit, depth), 0

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
        """Tell whether the values above the last mark are on their way into a list, dict or set."""
        return marks[-1] > 0 and type(stack[marks[-1] - 1]) in (list, Dict, Set) if marks else False

    def stop(self, limit: int) -> int:
        """Return `limit`, or where to look again if that is before it."""
        return min(limit, self._pending[-1][0] - self.base) if self._pending else limit

    def intact(self) -> bool:
        """Tell whether every value that stands for many is still what it was when it began to."""
        if not all(template.intact() for template in self.taken.values()):
            return False
        ids = {id(value) for template in self.taken.values() for value in template.values if type(value) is Call}
        return not ids or not any(isinstance(event, State | Items) and id(event.target) in ids for event in self.events)

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

    def _learn(self, i: int, second: int, third: int, memo: dict[int, Value], width: int) -> Template | None:
        """Return the template of two values that are of one shape."""
        for loose in (False, True):
            first = learn(self.buffer, i, second, memo, width, self, loose)
            if first is None:
                return None
            other = learn(self.buffer, second, third, memo, width, self, loose)
            if other is not None and other.pattern == first.pattern:
                return Template(first)
        return None

    def _look_again(self, i: int, limit: int, depth: int, tries: int) -> int:
        self._pending.append((i + self.base, depth, tries))
        return min(limit, i)

    def _give_up(self, limit: int, depth: int) -> int:
        """Leave the rest of this container to the machine, and pass by more and more of its kind."""
        self.waits[depth] = self._patience[depth] = min(2 * self._patience[depth] + 1, LONGEST_WAIT)
        return limit
