"""The tensors of torch in a pickle's symbolic result: which storage each looks at, and how.

Everything that `torch.load(weights_only=True)` would rebuild is known here by name: what has an exact form in
safetensors becomes a `View`, the rest `Unfit` with what to do about it. Nothing is called.

Source: torch/_utils.py, torch/_tensor.py, torch/_weights_only_unpickler.py, torch 0.3 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weighbridge.convert.dtypes import BITS, TORCH, UNCONVERTIBLE
from weighbridge.formats.zip.torch import STORAGES
from weighbridge.location import Location
from weighbridge.records import dataclass
from weighbridge.symbols import Call, Dict, Event, Global, PersistentId, Value

WRAPS: Final = 8  # parameters around tensors of subclasses around tensors; torch writes two
DIMENSIONS: Final = 64  # torch's own limit
_LARGEST: Final = 1 << 62  # no side, stride or offset of a real tensor reaches it

_DENSE: Final = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2"})
_PARAMETERS: Final = frozenset({"_rebuild_parameter", "_rebuild_parameter_with_state"})
# Classes that were called with their data until torch 0.4, `Parameter` in `copyreg` form since.
_CLASSES: Final = frozenset(
    {
        "torch.nn.parameter.Parameter",
        "torch.nn.Parameter",
        "torch.autograd.variable.Variable",
        "torch.autograd.Variable",
    }
)
_TYPED: Final = frozenset({"_rebuild_from_type", "_rebuild_from_type_v2"})
_REFUSED: Final = {
    "_rebuild_qtensor": ("a quantised tensor", UNCONVERTIBLE["qint8"]),
    "_rebuild_sparse_tensor": ("a sparse tensor", "save its to_dense(), or its indices and values as tensors"),
    "_rebuild_sparse_csr_tensor": ("a sparse tensor", "save its to_dense(), or its indices and values as tensors"),
    "_rebuild_nested_tensor": ("a nested tensor", "save its parts (unbind()) as tensors of their own"),
    "_rebuild_meta_tensor_no_storage": ("a meta tensor, which has no data", "load its weights before saving it"),
    "_rebuild_wrapper_subclass": (
        "a tensor subclass around other tensors",
        "save what it stands for: dequantize(), full_tensor() or to_dense()",
    ),
    "_rebuild_device_tensor_from_numpy": ("a tensor of another device kept as an array", "save its cpu()"),
    "_rebuild_mkldnn_tensor": ("a tensor in the layout of mkldnn", "save its to_dense()"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageId:
    """A storage as a persistent id names it: key, torch's dtype word ("untyped"), bytes; `begin` of a view in it."""

    key: str
    dtype: str
    size: int
    begin: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A strided view of a storage; `offset` and `strides` count elements. `notes` say what of it is not data."""

    location: Location
    storage: StorageId
    dtype: str
    item: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A tensor that has no exact form in safetensors: why, and what to do."""

    location: Location
    reason: str
    advice: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()


# Recognises what a container of its own has for tensors, such as numbers of a list.
Leaf = Callable[[Value], View | Unfit | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a stream does with values after it made them, by their identities: states from BUILD, and items set.

    Either can replace a tensor's data. `leaf` recognises what the container has for tensors besides; one that
    recognises the results of calls has looked at their states itself.
    """

    changed: frozenset[int]
    states: dict[int, list[Value]]
    leaf: Leaf | None = None


def tensor(value: Value, around: Around) -> View | Unfit | None:
    """Return the tensor that `value` is, None when it is something else."""
    found, told = None, False
    if isinstance(value, Call) and isinstance(value.callable, Global):
        found = _call(value.callable, value.arguments, value, around, WRAPS)
    if found is None and around.leaf is not None and isinstance(value, Event):
        found = around.leaf(value)
        told = isinstance(value, Call)
    if found is None or not isinstance(value, Event):
        return None
    if id(value) in around.changed:
        return Unfit(location=value.location, reason="items are set on the tensor, which no writer does")
    states = () if told else around.states.get(id(value), ())
    if not all(_harmless(state) for state in states):
        return Unfit(location=value.location, reason="the tensor gets a state that may replace its data")
    return found


def _harmless(state: Value) -> bool:
    """Tell whether a state is what torch before 0.4 gave a parameter: whether it requires a gradient, and its hooks."""
    match state:
        case (bool(), bool() | None, hooks):
            return hooks is None or (isinstance(hooks, Call) and not hooks.state)
    return False


def _call(function: Global, arguments: Value, call: Call, around: Around, wraps: int) -> View | Unfit | None:
    """Return the tensor that `function(*arguments)` makes, None when it makes something else."""
    if not isinstance(arguments, tuple) or wraps == 0:
        return None
    name = function.name
    if function.dotted in _CLASSES:
        return _inner(arguments[:1], around)
    if function.module == "torch._tensor" and name in _TYPED:
        return _typed(arguments, call, around, wraps)
    return _rebuilt(name, arguments, call, around) if function.module == "torch._utils" else None


def _rebuilt(name: str, arguments: tuple[Value, ...], call: Call, around: Around) -> View | Unfit | None:
    """Return the tensor that a function of `torch._utils` makes."""
    if name in _DENSE:
        return _dense(arguments, call, None, arguments[6:7])
    if name == "_rebuild_tensor_v3":
        return _dense(arguments, call, arguments[6:7], arguments[7:8])
    if name in _PARAMETERS:
        return _noted(_inner(arguments[:1], around), "state of a parameter", arguments[3:4])
    if name == "_rebuild_device_tensor_from_cpu_tensor":
        return _moved(_inner(arguments[:1], around), call, arguments[1:2])
    if name in _REFUSED:
        reason, advice = _REFUSED[name]
        return Unfit(location=call.location, reason=reason, advice=advice)
    if name.startswith("_rebuild_"):
        return Unfit(
            location=call.location, reason=f"a tensor that torch rebuilds with {name}", advice="save its cpu()"
        )
    return None


def _inner(arguments: tuple[Value, ...], around: Around) -> View | Unfit | None:
    return tensor(arguments[0], around) if arguments else None


def _typed(arguments: tuple[Value, ...], call: Call, around: Around, wraps: int) -> View | Unfit | None:
    """A tensor with a Python class or attributes: `_rebuild_from_type_v2(function, class, arguments, state)`."""
    match arguments:
        case (Global() as function, kind, inner, *state):
            found = _call(function, inner, call, around, wraps - 1)
            if isinstance(kind, Global) and kind.dotted not in _CLASSES | {"torch.Tensor", "torch._tensor.Tensor"}:
                found = _with_note(found, f"class {kind.dotted}")
            return _noted(found, "attributes of a tensor", tuple(state))
    return None


def _noted(found: View | Unfit | None, what: str, state: tuple[Value, ...]) -> View | Unfit | None:
    """Note that a Python state is left out, unless there is nothing in it."""
    empty = not state or state[0] is None or (isinstance(state[0], list | tuple) and not state[0])
    return found if empty else _with_note(found, what)


def _with_note(found: View | Unfit | None, note: str) -> View | Unfit | None:
    if not isinstance(found, View):
        return found
    return View(
        location=found.location,
        storage=found.storage,
        dtype=found.dtype,
        item=found.item,
        offset=found.offset,
        shape=found.shape,
        strides=found.strides,
        notes=(*found.notes, note),
    )


def _moved(found: View | Unfit | None, call: Call, dtype: tuple[Value, ...]) -> View | Unfit | None:
    """A tensor of another device, kept as one of the CPU; with another dtype it would be converted."""
    if isinstance(found, View) and dtype_word(dtype[0] if dtype else None) != found.dtype:
        reason = "a tensor of another device, which torch converts to another dtype when it loads it"
        return Unfit(location=call.location, reason=reason, advice="save its cpu()")
    return found


def dtype_word(value: Value) -> str:
    """Return the name of a torch dtype, empty for anything else."""
    return value.name if isinstance(value, Global) and value.module == "torch" else ""


def _dense(
    arguments: tuple[Value, ...], call: Call, dtype: tuple[Value, ...] | None, metadata: tuple[Value, ...]
) -> View | Unfit:
    """A view of a storage: `_rebuild_tensor_v2(storage, offset, size, stride, …)`, v3 with a dtype."""
    here = call.location
    match arguments:
        case (PersistentId(value=named), offset, tuple(sides), tuple(strides), *_):
            storage = storage_id(named)
            geometry = (offset, *sides, *strides)
        case _:
            return Unfit(location=here, reason="a tensor without a storage, offset, shape and strides")
    if storage is None:
        return Unfit(location=here, reason="a tensor whose persistent id names no storage of torch")
    if not all(map(number, geometry)) or len(sides) != len(strides) or len(sides) > DIMENSIONS:
        return Unfit(location=here, reason="a tensor whose offset, shape or strides are not numbers from 0 on")
    shape = tuple(side for side in sides if isinstance(side, int))
    word = storage.dtype if dtype is None else dtype_word(dtype[0] if dtype else None)
    if metadata and isinstance(metadata[0], Dict) and metadata[0]:
        advice = "save its resolve_conj().resolve_neg()"
        return Unfit(location=here, reason="a conjugate or negative view", advice=advice, dtype=word, shape=shape)
    if word not in TORCH:
        reason = f"dtype {word or 'unknown'} has no equivalent in safetensors"
        return Unfit(location=here, reason=reason, advice=UNCONVERTIBLE.get(word, ""), dtype=word, shape=shape)
    return View(
        location=here,
        storage=storage,
        dtype=word,
        item=max(1, BITS[TORCH[word]] // 8),
        offset=offset if isinstance(offset, int) else 0,
        shape=shape,
        strides=tuple(stride for stride in strides if isinstance(stride, int)),
    )


def number(value: Value) -> bool:
    """Tell whether a value is an offset, a side, a stride or a count."""
    return type(value) is int and 0 <= value < _LARGEST


def storage_id(value: Value) -> StorageId | None:
    """Return the storage that a persistent id names, None when it names none.

    A sixth part, in files before 1.6, is a view in that storage: its key, offset and number of elements.
    """
    match value:
        case (
            "storage",
            Global(module=module, name=kind),
            str(key),
            str(_),
            int(count),
            *view,
        ) if kind in STORAGES and module.split(".")[0] == "torch" and number(count):
            word, item = STORAGES[kind]
            match view:
                case [] | [None]:
                    return StorageId(key=key, dtype=word, size=count * item)
                case [(str(_), int(begin), int(length))] if number(begin) and 0 <= length <= count - begin:
                    return StorageId(key=key, dtype=word, size=count * item, begin=begin * item)
    return None
