"""The tensors that a pickle's object holds, by the names under which it holds them.

A checkpoint is dicts of dicts with `torch._utils._rebuild_tensor_v2` at their ends; a pickled module keeps its own in
`_parameters` and `_buffers` and other modules in `_modules`; numpy's arrays get their shape and dtype from their state.
Nothing is judged here, and nothing is read but the symbolic values of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Program, Tensor
from weighbridge.formats.pickle import joblib
from weighbridge.formats.pickle.torch_legacy import ITEM_SIZES, storage
from weighbridge.records import dataclass
from weighbridge.symbols import Call, Dict, Global, Items, PersistentId, Value

TENSORS_LIMIT: Final = 100_000  # of one object; the largest checkpoints have tens of thousands
VISITS_LIMIT: Final = 1_000_000  # containers and objects looked at on the way
DEPTH_LIMIT: Final = 32  # containers and objects around a tensor

# Attributes in which torch.nn.Module keeps things; names of tensors leave them out, as state_dict() does.
_SILENT: Final = frozenset({"_parameters", "_buffers", "_modules"})
_WRAPPED: Final = frozenset({"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"})
# What can be a tensor or hold one; a list of millions of numbers is passed over where it stands.
_HOLDERS: Final = (list, tuple, Call)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor(Tensor):
    """A tensor whose `size` bytes begin at byte `begin` of the storage of a key, in the order of their indices."""

    storage: str
    begin: int


def tensors(program: Program) -> Iterator[Tensor]:
    """Yield the tensors and arrays of a program's result, each with its name, dtype, shape and bytes."""
    items: dict[int, list[Value]] = {}
    for event in program.events:
        if isinstance(event, Items) and event.opcode.startswith("SETITEM"):
            items.setdefault(id(event.target), []).extend(event.values)
    waiting: list[tuple[str, Value, int]] = [("", program.result, 0)]
    seen: set[int] = set()
    visits = found = 0
    while waiting and visits < VISITS_LIMIT and found < TENSORS_LIMIT:
        name, value, depth = waiting.pop()
        visits += 1
        tensor = _tensor(name, value)
        if tensor is not None:
            found += 1
            yield tensor
        elif depth < DEPTH_LIMIT and id(value) not in seen:
            seen.add(id(value))
            parts = [pair for pair in _parts(value, items) if isinstance(pair[1], _HOLDERS)]
            waiting += [(_join(name, key), part, depth + 1) for key, part in reversed(parts)]


def _join(name: str, key: Value) -> str:
    if isinstance(key, str) and key in _SILENT:
        return name
    text = str(key) if isinstance(key, str | int) else "?"
    return f"{name}.{text}" if name else text


def _parts(value: Value, items: dict[int, list[Value]]) -> Iterator[tuple[Value, Value]]:
    """Yield the keys and values of a container, of a mapping that a call made, and of an object's attributes."""
    if isinstance(value, Dict):
        yield from zip(value[::2], value[1::2], strict=False)
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, Call):
        flat = items.get(id(value), [])
        yield from zip(flat[::2], flat[1::2], strict=False)
        if isinstance(value.state, Dict):
            yield from zip(value.state[::2], value.state[1::2], strict=False)


def _tensor(name: str, value: Value) -> Tensor | None:
    match value:
        case Call(callable=Global(dotted=wrapper), arguments=(inner, *_)) if wrapper in _WRAPPED:
            value = inner
    match value:
        case Call(
            callable=Global(module="torch._utils", name="_rebuild_tensor" | "_rebuild_tensor_v2"),
            arguments=(PersistentId() as source, offset, tuple(shape), *rest),
        ):
            return _torch(name, value, source, shape, (offset, *rest[:1]))
        case Call(callable=Global(name="_reconstruct"), state=(_, tuple(shape), dtype, *_)):
            size = joblib.itemsize(dtype)
            text = str(dtype.arguments[0]) if isinstance(dtype, Call) and isinstance(dtype.arguments, tuple) else "?"
            return _made(name, value, text, shape, size)
    return None


def _torch(
    name: str, call: Call, source: PersistentId, shape: tuple[Value, ...], layout: tuple[Value, ...]
) -> Tensor | None:
    """Return a tensor of torch; `layout` is where its first element stands in the storage, and its strides."""
    match source.value:
        case (_, Global(name=kind), key, *_) if kind in ITEM_SIZES and storage(source.value) is not None:
            made = _made(name, call, kind.removesuffix("Storage").lower(), shape, ITEM_SIZES[kind])
            match made, layout:
                case Tensor(), (int(offset), tuple(strides)) if offset >= 0 and _in_order(made.shape, strides):
                    return StoredTensor(
                        location=made.location,
                        name=name,
                        dtype=made.dtype,
                        shape=made.shape,
                        size=made.size,
                        storage=str(key),
                        begin=offset * ITEM_SIZES[kind],
                    )
            return made
    return None


def _in_order(shape: tuple[int, ...], strides: tuple[Value, ...]) -> bool:
    """Tell whether the last index runs fastest and nothing is left out; strides of sides of 1 mean nothing."""
    expected = 1
    for side, stride in zip(reversed(shape), reversed(strides), strict=False):
        if side != 1 and stride != expected:
            return False
        expected *= side
    return len(shape) == len(strides)


def _made(name: str, call: Call, dtype: str, shape: tuple[Value, ...], itemsize: int | None) -> Tensor | None:
    sides = tuple(side for side in shape if type(side) is int and side >= 0)
    if len(sides) != len(shape) or itemsize is None:
        return None
    size = itemsize
    for side in sides:
        size *= side
    return Tensor(location=call.location, name=name, dtype=dtype, shape=sides, size=size)
