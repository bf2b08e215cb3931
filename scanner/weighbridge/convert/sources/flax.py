"""flax's MessagePack: a tree of arrays, each an extension that holds its shape, type and bytes.

What `flax.serialization.to_bytes` writes, whole or in chunks for arrays over a gigabyte. Of a training state, told by
its `opt_state`, the other group is taken.

Source: flax/serialization.py, flax 0.3 to 0.12; flax/training/train_state.py.
"""

from __future__ import annotations

from math import prod
from typing import Final

from weighbridge.convert.choice import EVERYTHING, choose
from weighbridge.convert.dtypes import BITS, TORCH, UNCONVERTIBLE
from weighbridge.convert.msgpack import Binary, Decoder, Value
from weighbridge.convert.plan import Candidate, Plan, PlannedTensor, Range, Refusal
from weighbridge.convert.sources.base import Inputs, Options, Source
from weighbridge.convert.symbolic import Kind, Node, key_text
from weighbridge.convert.torch_tensors import DIMENSIONS, StorageId, Unfit, View, number
from weighbridge.errors import ArtifactError, UnconvertibleError
from weighbridge.location import Location, printable
from weighbridge.reader import Reader

ARRAY: Final = 1  # codes of extensions
COMPLEX: Final = 2
SCALAR: Final = 3
CHUNKED: Final = "__msgpack_chunked_array__"
OPTIMIZER: Final = "opt_state"
_ADVICE: Final = "save it as an array of another type"


def recognise(inputs: Inputs) -> bool:
    """Tell whether the file begins as a map does whose first key is a text."""
    head = inputs.reader.sample.head
    if 0x81 <= head[:1].ljust(1, b"\0")[0] <= 0x8F:
        key = head[1:]
    elif head[:1] in (b"\xde", b"\xdf"):
        key = head[3 if head[0] == 0xDE else 5 :]
    else:
        return False
    if not key or not (0xA1 <= key[0] <= 0xBF or key[0] == 0xD9):
        return False
    size, begin = (key[0] & 0x1F, 1) if key[0] <= 0xBF else (int.from_bytes(key[1:2], "big"), 2)
    text = key[begin : begin + size]
    return len(text) == size and text.isascii() and text.decode("ascii").isprintable()


def plan(inputs: Inputs, options: Options) -> Plan:
    """Return the arrays of the tree; raise ArtifactError when it is broken or something stands behind it."""
    reader = inputs.reader
    reader.seek(0)
    decoded = Decoder(reader).take()
    if reader.remaining:
        raise ArtifactError(reader.location, f"{reader.remaining} bytes behind the tree")
    tree = _Tree(reader)
    root = tree.node("", decoded)
    candidates = _candidates(root)
    wanted = options.state_dict
    if wanted is None and len(candidates) > 1 and not options.everything:
        listed = ", ".join(printable(one.path) for one in candidates)
        raise UnconvertibleError(reader.origin, f"it has several groups; choose with --state-dict PATH: {listed}")
    if wanted is None:
        wanted = next((one.path for one in candidates if one.path != EVERYTHING), "")
    choice = choose(root, wanted, reader.origin, everything=options.everything)
    tensors: list[PlannedTensor] = []
    refused = list(choice.refused)
    for name, view in choice.tensors:
        ranges = tree.pieces[view.storage.key]
        size = sum(one.size for one in ranges)
        if size != view.storage.size:
            reason = f"the array has {size} bytes, its shape and type ask for {view.storage.size}"
            refused.append(Refusal(location=view.location, name=name, reason=reason))
            continue
        tensors.append(
            PlannedTensor(
                name=name,
                dtype=TORCH[view.dtype],
                shape=_shape(view),
                data=ranges if size else (),
                location=view.location,
            )
        )
    return Plan(
        source=SOURCE.name,
        tensors=tuple(tensors),
        state_dict=choice.path,
        candidates=candidates,
        dropped=tuple(choice.dropped),
        scalars=choice.scalars,
        refused=tuple(refused),
    )


def _shape(view: View) -> tuple[int, ...]:
    return (*view.shape[:-1], 2 * view.shape[-1]) if TORCH[view.dtype] == "F4" and view.shape else view.shape


def _candidates(root: Node) -> tuple[Candidate, ...]:
    """Return the whole, or the groups of a training state but for its optimizer's."""
    if root.kind is Kind.MAPPING and any(child.key == OPTIMIZER for child in root.children):
        return tuple(
            Candidate(path=child.key or "", what=child.what, tensors=child.tensors)
            for child in root.children
            if child.tensors and child.key != OPTIMIZER and child.kind is Kind.MAPPING
        )
    return (Candidate(path=EVERYTHING, what=root.what, tensors=root.tensors),) if root.tensors else ()


class _Tree:
    """Makes nodes of decoded values; `pieces` says where the bytes of each array are."""

    def __init__(self, reader: Reader) -> None:
        self.pieces: dict[str, tuple[Range, ...]] = {}
        self._reader = reader

    def node(self, key: str | None, value: Value) -> Node:
        """Return the tree below a value."""
        array = self._array(value)
        if array is not None:
            node = Node(key, Kind.TENSOR, "tensor")
            node.content, node.tensors = array, 1
        elif isinstance(value, dict):
            node = Node(key, Kind.MAPPING, "dict")
            node.children = [self.node(key_text(name), one) for name, one in value.items()]
        elif isinstance(value, list):
            node = Node(key, Kind.LIST, "list")
            node.children = [self.node(str(index), one) for index, one in enumerate(value)]
        elif isinstance(value, Binary):
            complex_ = value.code == COMPLEX
            node = Node(key, Kind.SCALAR if complex_ else Kind.OPAQUE, f"{value.size} bytes of another kind")
            node.content = self._complex(value) if complex_ else None
        else:
            node = Node(key, Kind.SCALAR, "value")
            node.content = str(value) if isinstance(value, float) and value - value != 0 else value
        if node.children:
            node.tensors = sum(child.tensors for child in node.children)
        return node

    def _array(self, value: Value) -> View | Unfit | None:
        if isinstance(value, Binary) and value.code in (ARRAY, SCALAR):
            return self._view(*self._inside(value))
        if isinstance(value, dict) and value.get(CHUNKED) is True:
            return self._chunked(value)
        return None

    def _inside(self, value: Binary) -> tuple[Location, Value, Value, list[Binary]]:
        """Return place, shape, type and bytes of an array."""
        place = self._reader.at(value.begin)
        window = self._reader.window(value.begin, value.size)
        match Decoder(window).take():
            case [shape, dtype, Binary(code=None) as data] if not window.remaining:
                moved = Binary(begin=value.begin + data.begin, size=data.size)
                return place, shape, dtype, [moved]
        raise ArtifactError(place, "an array without its shape, type and bytes")

    def _chunked(self, value: dict[Value, Value]) -> View | Unfit:
        """An array in pieces: `shape` and `chunks` are tuples that flax writes as maps from "0" on."""
        origin = self._reader.origin
        shape, chunks = _tuple(value.get("shape")), _tuple(value.get("chunks"))
        if shape is None or not chunks or len(value) != 3:
            raise ArtifactError(origin, "an array in chunks without its shape and chunks")
        parts = []
        for chunk in chunks:
            if not isinstance(chunk, Binary) or chunk.code != ARRAY:
                raise ArtifactError(origin, "a chunk that is no array")
            parts.append(self._inside(chunk))
        if len({str(dtype) for _, _, dtype, _ in parts}) > 1:
            raise ArtifactError(origin, "an array in chunks of different types")
        return self._view(parts[0][0], shape, parts[0][2], [data for *_, held in parts for data in held])

    def _view(self, place: Location, shape: Value, dtype: Value, data: list[Binary]) -> View | Unfit:
        """Return an array as a view of a storage of its own."""
        if not isinstance(shape, list) or len(shape) > DIMENSIONS or not all(map(number, shape)):
            return Unfit(location=place, reason="an array whose shape is not made of numbers")
        sides = tuple(side for side in shape if isinstance(side, int))
        if not isinstance(dtype, str) or dtype not in TORCH:
            advice = UNCONVERTIBLE.get(str(dtype), _ADVICE)
            told = str(dtype)[:40]
            reason = f"dtype {told!r} has no equivalent in safetensors"
            return Unfit(location=place, reason=reason, advice=advice, dtype=told, shape=sides)
        item = max(1, BITS[TORCH[dtype]] // 8)
        key = str(data[0].begin)
        self.pieces[key] = tuple(Range(begin=one.begin, size=one.size) for one in data if one.size)
        storage = StorageId(key=key, dtype=dtype, size=item * prod(sides))
        return View(location=place, storage=storage, dtype=dtype, item=item, offset=0, shape=sides, strides=())

    def _complex(self, value: Binary) -> str:
        match Decoder(self._reader.window(value.begin, value.size)).take():
            case [float(real), float(imaginary)]:
                return str(complex(real, imaginary))
        raise ArtifactError(self._reader.at(value.begin), "a complex number without its parts")


def _tuple(value: Value) -> list[Value] | None:
    """Return a tuple that flax wrote as a map from its indices."""
    if not isinstance(value, dict) or list(value) != [str(index) for index in range(len(value))]:
        return None
    return list(value.values())


SOURCE: Final = Source("flax", "flax checkpoint", recognise, plan)
