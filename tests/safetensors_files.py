"""Small safetensors files, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping


def tensor_file(tensors: Mapping[str, bytes], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a file with tensors of bytes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensors.values())
