"""Documents in TOML that a reader of them would need hours for."""

from __future__ import annotations

import pytest
from examining import facts_of

from weighbridge.facts import Gap

PARTS = ".".join("a" * 100_000)
HOSTILE = {
    "plain": f"a = 1\n{PARTS} = 1\n",
    "in a table": f'x = {{ "b" = 1, {PARTS} = 1 }}\n',
    "in a header": f"a = 1\n[{PARTS}]\n",
    "behind a string of several lines": f"x = ['''\n''', {{ {PARTS} = 1 }}]\n",
    "behind what seems a comment": f'x = ["""\n# """, {{ {PARTS} = 1 }}]\n',
    "quoted": 'a = 1\n"a\\"".' + "'b' . c.\"d\"." * 50_000 + "e = 1\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_key_of_many_parts_is_a_gap(text: str) -> None:
    assert [fact for fact in facts_of(text.encode()) if isinstance(fact, Gap)]


@pytest.mark.parametrize("text", ['"\\' * 200_000, "'a" * 200_000, "a " * 200_000, '"\\" ' * 200_000])
def test_looking_for_one_takes_no_longer_than_the_text(text: str) -> None:
    assert [fact for fact in facts_of(f"a = 1\nb = {text}\n".encode()) if isinstance(fact, Gap)]
