"""Where every unpickler raises: what is said to raise does so in both of Python's, and what may run is not left out."""

from __future__ import annotations

import pickle

import pytest
from pickles import run

from benchmarks.corpus.hook_abuse import OBJECT, array
from fixtures.assemble import P4, Ops, stack_global
from weighbridge.formats.pickle.raising import raises

TEXT = P4.value("text")
DIGITS = P4.name("string", "digits")  # an import that is a text

RAISES = {
    "import by a list": stack_global(P4.list_of(), TEXT),
    "import by a dict": stack_global(P4.dict_of({}), TEXT),
    "import by a tuple": stack_global(P4.tuple_of(), TEXT),
    "import by a number": stack_global(P4.value(1), TEXT),
    "import by none": stack_global(TEXT, P4.value(None)),
    "import by bytes": stack_global(P4.value(b"os"), TEXT),
    "import by a mapping": stack_global(P4.call("collections:OrderedDict"), TEXT),
    "import by an object": stack_global(P4.newobj("collections:UserString"), TEXT),
    "call of a text": P4.call(TEXT, 1),
    "call of a list": P4.call(P4.list_of(), 1),
    "object of a text": P4.newobj(TEXT),
    "call of a mapping": P4.call(P4.call("collections:OrderedDict"), 1),
    "call of a number": P4.call(P4.call("decimal:Decimal", "1.5"), 1),
    "state of a text": P4.build(TEXT, {"a": 1}),
    "state of a list": P4.build(P4.list_of(), {"a": 1}),
    "items of a text": P4.append(TEXT, 1),
    "items of a tuple": P4.set_item(P4.tuple_of(1), 0, 1),
    "key that is a list": P4.dict_of({P4.list_of(): 1}),
}
RUNS = {
    "import by a text that is imported": stack_global(P4.value("string"), P4.value("digits")),
    "no state": P4.build(TEXT, None),
    "no state, and no slots": P4.build(TEXT, P4.tuple_of(None, {})),
    "no items": Ops(TEXT + b"(e"),
    "no items of a mapping": Ops(P4.tuple_of(1) + b"(u"),
    "call of a class": P4.call("collections:OrderedDict"),
    "call of a bound method": P4.call(P4.call("operator:methodcaller", "upper"), "a"),
    "import by a text that was made": stack_global(P4.call("builtins:str", "string"), P4.value("digits")),
    "import by a text of a class": stack_global(P4.newobj("builtins:str", "string"), P4.value("digits")),
    "import by a text of a module": stack_global(P4.value("string"), P4.call("builtins:str", "digits")),
}


def told(body: Ops) -> list[bool]:
    """Return whether each event of a stream is said to raise."""
    return [raises(event) for event in run(P4.stream(body, framed=False)).events]


@pytest.mark.parametrize("body", RAISES.values(), ids=RAISES.keys())
def test_what_is_said_to_raise_does(body: Ops) -> None:
    assert any(told(body))
    for unpickle in (pickle.loads, pickle._loads):  # type: ignore[attr-defined]
        with pytest.raises((TypeError, AttributeError, pickle.UnpicklingError, ValueError)):
            unpickle(P4.stream(body, framed=False))


@pytest.mark.parametrize("body", RUNS.values(), ids=RUNS.keys())
def test_what_may_run_is_not_said_to_raise(body: Ops) -> None:
    assert not any(told(body))
    pickle.loads(P4.stream(body, framed=False))


def test_an_import_may_be_a_text() -> None:
    assert told(stack_global(DIGITS, TEXT))[-1] is False


def test_an_array_that_is_called_for_a_text_raises() -> None:
    assert any(told(P4.call("numpy:ndarray", "i8", False, True)))
    assert not any(told(P4.call("numpy:ndarray", "")))
    assert any(told(P4.call(array(OBJECT, ["a"]), 1)))
