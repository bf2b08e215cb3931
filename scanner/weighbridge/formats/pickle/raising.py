"""Where every unpickler raises, whatever the objects of a stream do: what comes behind is never run.

Plain pickle reads what joblib wrote with another memo, so of an ordinary file it takes texts for classes and tables for
texts. It gets no further than to the first of these.

Source: CPython Modules/_pickle.c, `load_stack_global`, `load_reduce`, `load_newobj`, `load_build`, `do_append`;
NumPy's `array_new`, which takes no text for a shape.
"""

from __future__ import annotations

from typing import Final

from weighbridge.formats.pickle.joblib import WRAPPERS
from weighbridge.symbols import Call, ComputedName, Dict, Event, Form, Global, Items, Key, State, Value

_NO_TEXT: Final = (int, float, complex, bytes, tuple, list, type(None))
_INERT: Final = (str, *_NO_TEXT)
# What calls of these make is no text and cannot be called.
_MAKERS: Final = frozenset(
    {
        "builtins.dict",
        "builtins.frozenset",
        "builtins.list",
        "builtins.set",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "decimal.Decimal",
        "fractions.Fraction",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "uuid.UUID",
    }
)
_NOT_CALLED: Final = _MAKERS | WRAPPERS
_CLASSES: Final = _NOT_CALLED | {"numpy.ndarray"}


def is_no_text(value: Value) -> bool:
    """Tell whether a value cannot be a text, of which alone STACK_GLOBAL takes two."""
    if type(value) is Call:
        made = value.form in (Form.NEWOBJ, Form.NEWOBJ_EX) and type(value.callable) is Global
        return value.subject in _MAKERS or (made and value.subject != "builtins.str")
    if type(value) is Global:  # a module may have a text by any other name
        return value.dotted in _CLASSES
    return isinstance(value, _NO_TEXT)


def raises(event: Event) -> bool:
    """Tell whether an unpickler raises instead of doing what an event says."""
    match event:
        case ComputedName():
            return is_no_text(event.module) or is_no_text(event.name)
        case Call(callable=Global(dotted="numpy.ndarray"), arguments=(str() as shape, *_)):
            return shape != ""
        case Call(callable=Call() as function):
            return function.subject in _NOT_CALLED
        case Call():
            return isinstance(event.callable, _INERT)
        case State():
            return isinstance(event.target, _INERT) and type(event.state) is Dict and len(event.state) > 0
        case Items():
            return isinstance(event.target, _INERT) and not isinstance(event.target, list) and len(event.values) > 0
        case Key():
            return isinstance(event.key, list)
    return False
