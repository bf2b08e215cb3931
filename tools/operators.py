"""Write `rules/onnx/operators.json`: every operator that ONNX, ONNX Runtime and its extensions define, as facts.

    python tools/operators.py            # wants onnx, onnxruntime and onnxruntime-extensions

The names come from the libraries themselves: ONNX and ONNX Runtime list their schemas, and the extension library is
asked, by a model of one node each, which of the names in its binary it registers. ONNX Runtime's documentation
(docs/ContribOperators.md) lists a part of what its schemas say and nothing beyond. No scan imports any of the three.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).resolve().parent.parent / "rules" / "onnx" / "operators.json"
EXTENSIONS: Final = ("ai.onnx.contrib", "com.microsoft.extensions")

# Operators that exist and that knowing does not make acceptable: each is named by a rule. They run code that is
# no operator's (a vendor's engine, a function of the host, a kernel by name), open a file or a connection, or are an
# example that no model has.
WITHHELD: Final = {
    "ai.onnx": ["ATen"],
    "ai.onnx.contrib": [
        "AzureAudioToText",
        "AzureTextToText",
        "AzureTritonInvoker",
        "ImageReader",
        "OpenAIAudioToText",
        "PyOp",
    ],
    "com.microsoft": [
        "ATen",
        "ATenOp",
        "EPContext",
        "PyOp",
        "PythonOp",
        "PythonOpGrad",
        "SampleOp",
        "Snpe",
        "TritonOp",
    ],
    "com.microsoft.extensions": [
        "AzureAudioToText",
        "AzureTextToText",
        "AzureTritonInvoker",
        "OpenAIAudioToText",
        "PyOp",
    ],
    "org.pytorch.aten": ["ATen"],
}

_NAME: Final = rb"(?<![A-Za-z0-9_])[A-Z][A-Za-z0-9_]{2,40}(?![A-Za-z0-9_])"
_LIST: Final = r"\[\s*([^][]*?)\s*\]"  # of the table's text; one stands on one line
_NOT_REGISTERED: Final = ("not a registered function/op", "No Op registered")


def schemas() -> Iterator[tuple[str, str, int]]:
    """Yield the domain, name and first version of every schema of ONNX and of ONNX Runtime, with their history."""
    import onnx
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    for schema in [*onnx.defs.get_all_schemas_with_history(), *get_all_operator_schema()]:
        yield schema.domain or "ai.onnx", schema.name, schema.since_version


def extensions() -> Iterator[tuple[str, str, int]]:
    """Yield what the library of onnxruntime-extensions registers."""
    import onnxruntime
    import onnxruntime_extensions

    library = onnxruntime_extensions.get_library_path()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(library)
    names = {match.decode() for match in re.findall(_NAME, Path(library).read_bytes())}
    for domain in EXTENSIONS:
        for name in sorted(names):
            if _registers(onnxruntime, options, domain, name):
                yield domain, name, 1


def _registers(onnxruntime: Any, options: Any, domain: str, name: str) -> bool:
    """Tell whether a session knows an operator; it may then complain of anything else in the model."""
    from onnx import TensorProto, helper

    value, result = (helper.make_tensor_value_info(one, TensorProto.FLOAT, [1]) for one in "xy")
    graph = helper.make_graph([helper.make_node(name, ["x"], ["y"], domain=domain)], "g", [value], [result])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its errors have no common base but this
        return not any(words in str(error) for words in _NOT_REGISTERED)
    return True


def table() -> str:
    """Return the text of the table, an operator a line."""
    domains: dict[str, dict[str, set[int]]] = {}
    for domain, name, since in [*schemas(), *extensions()]:
        if name not in WITHHELD.get(domain, ()):
            domains.setdefault(domain, {}).setdefault(name, set()).add(since)
    document = {
        "sources": {name: version(name) for name in ("onnx", "onnxruntime", "onnxruntime-extensions")},
        "withheld": WITHHELD,
        "domains": {
            domain: {name: sorted(since) for name, since in sorted(names.items())}
            for domain, names in sorted(domains.items())
        },
    }
    return re.sub(_LIST, lambda found: f"[{' '.join(found[1].split())}]", json.dumps(document, indent=1)) + "\n"


if __name__ == "__main__":
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(table(), encoding="utf-8")
    print(f"{TABLE}: {len(TABLE.read_bytes())} bytes", file=sys.stderr)
