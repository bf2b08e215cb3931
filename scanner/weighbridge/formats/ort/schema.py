"""The tables of ONNX Runtime's format: the fields of each in the order of their slots.

A field is `name:kind`. Kinds: a number of bytes (a scalar or a struct), `string`, the name of a table, `[kind]` for a
vector, and `A|B|C` for a union, whose type is the field before it. Fields that the format no longer uses are read as
they were. Source: ort.fbs of ONNX Runtime 1.31; its fields have only ever been added to.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

ROOT: Final = "InferenceSession"
VERSIONS: Final = frozenset("123456")  # of the format, as its texts

_TABLES: Final[dict[str, str]] = {
    "InferenceSession": "ort_version:string model:Model session_state:SessionState resolver:Resolver",
    "Model": "ir_version:8 opset_import:[OperatorSetId] producer_name:string producer_version:string domain:string "
    "model_version:8 doc_string:string graph:Graph graph_doc_string:string metadata_props:[Entry]",
    "Graph": "initializers:[Tensor] node_args:[ValueInfo] nodes:[Node] max_node_index:4 node_edges:[NodeEdge] "
    "inputs:[string] outputs:[string] sparse_initializers:[SparseTensor] optimizations:Optimizations",
    "Node": "name:string doc_string:string domain:string since_version:4 index:4 op_type:string type:4 "
    "execution_provider_type:string inputs:[string] outputs:[string] attributes:[Attribute] input_arg_counts:[4] "
    "implicit_inputs:[string]",
    "Attribute": "name:string doc_string:string type:4 f:4 i:8 s:string t:Tensor g:Graph floats:[4] ints:[8] "
    "strings:[string] tensors:[Tensor] graphs:[Graph]",
    "Tensor": "name:string doc_string:string dims:[8] data_type:4 raw_data:[1] string_data:[string] external_offset:8",
    "SparseTensor": "values:Tensor indices:Tensor dims:[8]",
    "ValueInfo": "name:string doc_string:string type:TypeInfo",
    "TypeInfo": "denotation:string value_type:1 value:TensorType|SequenceType|MapType",
    "TensorType": "elem_type:4 shape:Shape",
    "SequenceType": "elem_type:TypeInfo",
    "MapType": "key_type:4 value_type:TypeInfo",
    "Shape": "dim:[Dimension]",
    "Dimension": "value:DimensionValue denotation:string",
    "DimensionValue": "dim_type:1 dim_value:8 dim_param:string",
    "OperatorSetId": "domain:string version:8",
    "Entry": "key:string value:string",
    "NodeEdge": "node_index:4 input_edges:[12] output_edges:[12]",
    "Optimizations": "records:[OptimizationEntry]",
    "OptimizationEntry": "optimizer_name:string records:[OptimizationRecord]",
    "OptimizationRecord": "action_id:string nodes:NodesToOptimize produced_nodes:[NodeAndHash] op_ids:[string]",
    "NodesToOptimize": "node_indices:[4] num_inputs:4 num_outputs:4 has_variadic_input:1 has_variadic_output:1 "
    "num_variadic_inputs:4 num_variadic_outputs:4",
    "NodeAndHash": "node_index:4 kernel_def_hash:8",
    "SessionState": "kernels:Kernels sub_graphs:[SubGraphState]",
    "SubGraphState": "graph_id:string session_state:SessionState",
    "Kernels": "node_indices:[4] kernel_def_hashes:[8]",
    "Resolver": "operators:[OperatorKernels]",
    "OperatorKernels": "op_id:string kernel_type_str_args:[KernelArguments]",
    "KernelArguments": "kernel_type_str:string args:[Argument]",
    "Argument": "arg_type:1 index:4",
}


class Field(NamedTuple):
    """A field: `size` of a scalar or of a vector's element, `tables` that it or its elements may be, else text."""

    name: str
    vector: bool = False
    size: int = 0
    tables: tuple[str, ...] = ()

    @property
    def scalar(self) -> bool:
        """Whether the value stands in the table itself."""
        return bool(self.size) and not self.vector


@cache
def fields(table: str) -> tuple[Field, ...]:
    """Return the fields of a table by their slots."""
    found = []
    for one in _TABLES[table].split():
        name, _, kind = one.partition(":")
        vector, kind = kind.startswith("["), kind.strip("[]")
        if kind == "string":
            found.append(Field(name, vector))
        elif kind.isdigit():
            found.append(Field(name, vector, int(kind)))
        else:
            found.append(Field(name, vector, 0, tuple(kind.split("|"))))
    return tuple(found)
