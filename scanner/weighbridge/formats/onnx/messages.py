"""The messages of the ONNX format: which fields each has, and how each is written.

A table of our own, so that what counts as an unknown field does not depend on the installed onnx library; a test
compares it with the library's. Spelling: `name type`, where a type is `v` (varint), `f` (4 bytes), `d` (8 bytes),
`s` (text), `b` (bytes) or the name of a message, with `*` when the field is repeated and `+` when it is repeated and
written as one.

Source: onnx/onnx-ml.proto of onnx 1.23 (IR version 14).
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

IR_VERSION: Final = 14  # the newest that the table describes

_TEXT: Final[dict[str, str]] = {
    "Model": "1 ir_version v; 2 producer_name s; 3 producer_version s; 4 domain s; 5 model_version v; 6 doc_string s; "
    "7 graph Graph; 8 opset_import OperatorSetId*; 14 metadata_props Entry*; 20 training_info Training*; "
    "25 functions Function*; 26 configuration Configuration*",
    "Graph": "1 node Node*; 2 name s; 5 initializer Tensor*; 10 doc_string s; 11 input ValueInfo*; "
    "12 output ValueInfo*; 13 value_info ValueInfo*; 14 quantization_annotation Annotation*; "
    "15 sparse_initializer Sparse*; 16 metadata_props Entry*",
    "Node": "1 input s*; 2 output s*; 3 name s; 4 op_type s; 5 attribute Attribute*; 6 doc_string s; 7 domain s; "
    "8 overload s; 9 metadata_props Entry*; 10 device_configurations NodeDevice*",
    "Attribute": "1 name s; 2 f f; 3 i v; 4 s b; 5 t Tensor; 6 g Graph; 7 floats f*; 8 ints v*; 9 strings b*; "
    "10 tensors Tensor*; 11 graphs Graph*; 13 doc_string s; 14 tp Type; 15 type_protos Type*; 20 type v; "
    "21 ref_attr_name s; 22 sparse_tensor Sparse; 23 sparse_tensors Sparse*",
    "Tensor": "1 dims v*; 2 data_type v; 3 segment Segment; 4 float_data f+; 5 int32_data v+; 6 string_data b*; "
    "7 int64_data v+; 8 name s; 9 raw_data b; 10 double_data d+; 11 uint64_data v+; 12 doc_string s; "
    "13 external_data Entry*; 14 data_location v; 16 metadata_props Entry*",
    "Sparse": "1 values Tensor; 2 indices Tensor; 3 dims v*",
    "Function": "1 name s; 4 input s*; 5 output s*; 6 attribute s*; 7 node Node*; 8 doc_string s; "
    "9 opset_import OperatorSetId*; 10 domain s; 11 attribute_proto Attribute*; 12 value_info ValueInfo*; "
    "13 overload s; 14 metadata_props Entry*",
    "Training": "1 initialization Graph; 2 algorithm Graph; 3 initialization_binding Entry*; 4 update_binding Entry*",
    "ValueInfo": "1 name s; 2 type Type; 3 doc_string s; 4 metadata_props Entry*",
    "Entry": "1 key s; 2 value s",
    "OperatorSetId": "1 domain s; 2 version v",
    "Annotation": "1 tensor_name s; 2 quant_parameter_tensor_names Entry*",
    "Segment": "1 begin v; 2 end v",
    "Type": "1 tensor_type TensorType; 4 sequence_type SequenceType; 5 map_type MapType; 6 denotation s; "
    "7 opaque_type OpaqueType; 8 sparse_tensor_type TensorType; 9 optional_type SequenceType",
    "TensorType": "1 elem_type v; 2 shape Shape",
    "SequenceType": "1 elem_type Type",
    "MapType": "1 key_type v; 2 value_type Type",
    "OpaqueType": "1 domain s; 2 name s",
    "Shape": "1 dim Dimension*",
    "Dimension": "1 dim_value v; 2 dim_param s; 3 denotation s",
    "NodeDevice": "1 configuration_id s; 2 sharding_spec Sharding*; 3 pipeline_stage v",
    "Sharding": "1 tensor_name s; 2 device v*; 3 index_to_device_group_map IntIntList*; 4 sharded_dim ShardedDim*",
    "IntIntList": "1 key v; 2 value v*",
    "ShardedDim": "1 axis v; 2 simple_sharding SimpleSharding*",
    "SimpleSharding": "1 dim_value v; 2 dim_param s; 3 num_shards v",
    "Configuration": "1 name s; 2 num_devices v; 3 device s*",
}

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5
_WIRE: Final = {"v": VARINT, "d": FIXED64, "f": FIXED32, "s": LENGTH, "b": LENGTH}


class Field(NamedTuple):
    """A field of a message; `message` is the type of a message inside, `packed` says that writers write many as one."""

    number: int
    name: str
    kind: str
    repeated: bool
    message: str = ""
    packed: bool = False


def names() -> tuple[str, ...]:
    """Return the names of all messages."""
    return tuple(_TEXT)


@cache
def tags(message: str) -> dict[int, Field]:
    """Return the fields of a message by tag: the number and the wire type, as one integer.

    A repeated number may be written one by one or packed, whatever the schema says; readers take both.
    """
    found = {}
    for line in _TEXT[message].split("; "):
        number, name, kind = line.split(" ")
        packed, repeated, kind = kind.endswith("+"), kind[-1] in "*+", kind.rstrip("*+")
        inner = kind if kind in _TEXT else ""
        wire = LENGTH if inner else _WIRE[kind]
        field = Field(int(number), name, kind, repeated, inner, packed)
        found[int(number) << 3 | wire] = field
        if repeated and wire != LENGTH:
            found[int(number) << 3 | LENGTH] = field
    return found


@cache
def numbers(message: str) -> dict[str, int]:
    """Return the numbers of a message's fields by name."""
    return {field.name: field.number for field in tags(message).values()}


@cache
def field_name(message: str, number: int) -> str:
    """Return the name of a field, nothing if the message has none of that number."""
    return next((field.name for field in tags(message).values() if field.number == number), "")
