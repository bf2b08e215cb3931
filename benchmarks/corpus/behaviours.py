"""Evasions in what is called: attribute walks, aliases, resolvers, callbacks, dynamic types, changes, nested files."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable

from fixtures.archives import gzip_file, torch_zip
from fixtures.assemble import P0, P2, P4, Ops, Spelling, discard, text

from .calls import CALLBACKS, CHANGES, DYNAMIC, RESOLVERS
from .names import ALIASES, IMPORTS, TRAVERSALS
from .payloads import PAYLOADS, SPELLINGS, Payload, Sample, Technique, bind, cross


def _text_stream(code: bytes) -> bytes:
    """The same code with PROTO 4, which enables dotted names, and old-style imports."""
    return b"\x80\x04" + code + b"."


def _walks(family: str, names: dict[str, tuple[object, ...]]) -> list[Sample]:
    samples = []
    for index, (spelled, arguments) in enumerate(names.items()):
        module, _, name = spelled.partition(":")
        payload = Payload(module, name, arguments)
        for form, technique in _WALK_FORMS.items():
            path = (
                f"{family}/{form}-{index:02}-{''.join(c if c.isascii() and c.isalnum() else '-' for c in spelled)}.pkl"
            )
            samples.append(
                Sample(
                    path,
                    f"{family}/{spelled.encode('ascii', 'backslashreplace').decode()}",
                    bind(technique, payload, P4),
                )
            )
    return samples


_WALK_FORMS: dict[str, Technique] = {
    "stack-global": lambda payload, write: P4.stream(payload.call(P4)),
    "global": lambda payload, write: _text_stream(P2.call(payload.imported(P2), *payload.arguments)),
    "import": lambda payload, write: P4.stream(P4.list_of(payload.imported(P4))),
    "inst": lambda payload, write: _text_stream(P2.inst(payload.module, payload.name, *payload.arguments)),
    "obj-popped": lambda payload, write: P4.stream(discard(P4.obj(payload.imported(P4), *payload.arguments), b"}")),
}


def _inner(payload: Payload, write: Spelling) -> bytes:
    return write.stream(payload.call(write))


NESTED: dict[str, Technique] = {
    "load-from-bytes": lambda payload, write: P4.stream(
        P4.call("torch.storage:_load_from_bytes", _inner(payload, write))
    ),
    "load-from-bytes-zip": lambda payload, write: P4.stream(
        P4.call("torch.storage:_load_from_bytes", torch_zip(_inner(payload, write)))
    ),
    "load-from-bytes-text": lambda payload, write: P4.stream(
        P4.call(
            "torch.storage:_load_from_bytes", P4.call("_codecs:encode", _inner(payload, P0).decode("latin-1"), "latin1")
        )
    ),
    "load-from-bytes-twice": lambda payload, write: P4.stream(
        P4.call(
            "torch.storage:_load_from_bytes",
            P4.stream(P4.call("torch.storage:_load_from_bytes", _inner(payload, write))),
        )
    ),
    "pickle-loads": lambda payload, write: P4.stream(P4.call("pickle:loads", _inner(payload, write))),
    "c-pickle-loads": lambda payload, write: P2.stream(P2.call("cPickle:loads", _inner(payload, P2))),
    "pickle-load-bytesio": lambda payload, write: P4.stream(
        P4.call("_pickle:load", P4.call("_io:BytesIO", _inner(payload, write)))
    ),
    "unpickler-bytesio": lambda payload, write: P4.stream(
        P4.call("pickle:Unpickler.load", P4.call("pickle:Unpickler", P4.call("io:BytesIO", _inner(payload, write))))
    ),
    "torch-load-bytesio": lambda payload, write: P4.stream(
        P4.call("torch:load", P4.call("io:BytesIO", torch_zip(_inner(payload, write))))
    ),
    "joblib-load-bytesio": lambda payload, write: P4.stream(
        P4.call("joblib:load", P4.call("io:BytesIO", _inner(payload, write)))
    ),
    "numpy-load": lambda payload, write: P4.stream(P4.call("numpy:load", "other.npy", None, True)),
    "pandas-read-pickle": lambda payload, write: P4.stream(P4.call("pandas:read_pickle", "other.pkl")),
    "torch-load": lambda payload, write: P4.stream(P4.call("torch:load", "other.pt")),
    "hub-load": lambda payload, write: P4.stream(P4.call("torch.hub:load", "owner/other", "model")),
    "from-pretrained": lambda payload, write: P4.stream(
        P4.call("transformers:AutoTokenizer.from_pretrained", "owner/other")
    ),
    "zlib-loads": lambda payload, write: P4.stream(
        P4.call("pickle:loads", P4.call("zlib:decompress", zlib.compress(_inner(payload, write), 9)))
    ),
    "base64-loads": lambda payload, write: P4.stream(
        P4.call("pickle:loads", P4.call("base64:b64decode", base64.b64encode(_inner(payload, write))))
    ),
    "exec-base64": lambda payload, write: P4.stream(
        P4.call("builtins:exec", P4.call("base64:b64decode", base64.b64encode(b"pass")))
    ),
    "bytes-dormant": lambda payload, write: P4.stream({"tokenizer": _inner(payload, P4), "size": 3}),
    "bytes-dormant-protocol-2": lambda payload, write: P2.stream({"tokenizer": _inner(payload, P2)}),
    "bytearray-dormant": lambda payload, write: P4.stream({"tokenizer": bytearray(_inner(payload, P4))}),
    "text-dormant": lambda payload, write: P2.stream(
        Ops(text("tokenizer") + text(_inner(payload, P0).decode("latin-1")) + b"\x86")
    ),
    "base64-dormant": lambda payload, write: P4.stream({"tokenizer": base64.b64encode(_inner(payload, P4)).decode()}),
    "base64-bytes-dormant": lambda payload, write: P4.stream({"tokenizer": base64.b64encode(_inner(payload, P4))}),
    "hex-dormant": lambda payload, write: P4.stream({"tokenizer": _inner(payload, P4).hex()}),
    "gzip-dormant": lambda payload, write: P4.stream({"tokenizer": gzip_file(_inner(payload, P4))}),
    "zip-dormant": lambda payload, write: P4.stream({"tokenizer": torch_zip(_inner(payload, P4))}),
    "state-of-storage": lambda payload, write: P4.stream(
        P4.build(P4.newobj("collections:OrderedDict"), P4.call("pickle:loads", _inner(payload, write)))
    ),
    "scalar-bytes": lambda payload, write: P4.stream(
        P4.call("numpy._core.multiarray:scalar", P4.call("numpy:dtype", "O8", False, True), _inner(payload, P4))
    ),
    "rebuild-from-buffer": lambda payload, write: P4.stream(
        P4.call(
            "numpy._core.numeric:_frombuffer", _inner(payload, P4), P4.call("numpy:dtype", "O8", False, True), (1,), "C"
        )
    ),
}


def _const(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def _alone(family: str, calls: dict[str, Ops]) -> list[Sample]:
    """Return each call as a stream and as a member of a state dict in a torch file."""
    samples = []
    for name, code in calls.items():
        label = f"{family}/{name}"
        samples.append(Sample(f"{label}.pkl", label, _const(P4.stream(code))))
        samples.append(Sample(f"{label}.pt", label, _const(torch_zip(P4.stream({"a": code})))))
        samples.append(Sample(f"{label}-popped.pkl", label, _const(P4.stream(discard(code, b"}")))))
    return samples


def _imports() -> list[Sample]:
    samples = []
    for spelled in IMPORTS:
        module, _, name = spelled.partition(":")
        for write in SPELLINGS:
            label = f"import-only/{spelled}"
            path = f"import-only/{spelled.replace(':', '-')}-p{write.protocol}.pkl"
            make = bind(lambda p, w: w.stream(discard(p.imported(w), b"}")), Payload(module, name), write)
            samples.append(Sample(path, label, make))
            make = bind(lambda p, w: w.stream({"a": p.imported(w)}), Payload(module, name), write)
            samples.append(Sample(path.replace(".pkl", "-kept.pkl"), label, make))
    return samples


def samples() -> list[Sample]:
    """Return every sample that turns on what is called or changed."""
    calls = {"resolvers": RESOLVERS, "callbacks": CALLBACKS, "dynamic": DYNAMIC, "changes": CHANGES}
    return [
        *_walks("traversal", TRAVERSALS),
        *_walks("alias", ALIASES),
        *(sample for family, table in calls.items() for sample in _alone(family, table)),
        *_imports(),
        *cross("nested", NESTED, PAYLOADS),
    ]
