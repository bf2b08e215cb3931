"""Approved ONNX models as sessions of ONNX Runtime.

The runtime sees no path: it gets the verified bytes of the model, and of every file that its tensors lie in, from
private memory. A file that the model names and that was not approved is refused before the runtime starts; what it
might name besides is looked for in an empty folder.

Nothing but the caller sets options: no library of custom operators is registered, settings in the model are not
followed, the optimised model is not written anywhere, nothing is profiled.

Source: onnxruntime/core/session/onnxruntime_session_options_config_keys.h, 1.17 to 1.31.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from weighbridge.errors import UsageError
from weighbridge.examination import Examination
from weighbridge.facts import ExternalData, Gap, Recognised
from weighbridge.limits import Budget, Limits
from weighbridge.load.folder import Folder, open_folder
from weighbridge.load.whole import verified
from weighbridge.location import Location, printable
from weighbridge.reader import Reader
from weighbridge.refusals import ConfigRefused, UnsupportedFormat

if TYPE_CHECKING:
    from weighbridge.evidence.trust_policy import TrustPolicy

# With it the runtime takes options of the session from the model.
_CONFIG_VARIABLE: Final = "ORT_LOAD_CONFIG_FROM_MODEL"
_LOCKED: Final = {
    "session.load_model_format": "ONNX",  # by default the bytes decide
    "ep.context_enable": "0",  # would write compiled parts to a file
}
_ELSEWHERE: Final = "session.model_external_initializers_file_folder_path"
_FIX: Final = "put the file beside the model and approve both"

# What the runtime raises; these classes have no base of their own.
_REFUSED: Final = (
    "EPFail",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)

Provider = str | tuple[str, dict[str, Any]]


def load_onnx(
    path: str | os.PathLike[str],
    *,
    trust: TrustPolicy | str | os.PathLike[str] | None = None,
    source: str | None = None,
    providers: Sequence[Provider] = ("CPUExecutionProvider",),
    threads: int | None = None,
) -> Any:
    """Return an `onnxruntime.InferenceSession` of an approved model; `path` is the file in its approved folder.

    `trust` and `source` are those of `weighbridge.load`; `providers` are the runtime's, which is how a GPU is asked
    for, and `threads` is how many one operator may use.

    Raises a NotApproved when there is no approval that holds, DigestMismatch when bytes are not the approved ones,
    UnsupportedFormat when it is no ONNX model, names a file that was not approved, or the runtime refuses it,
    ConfigRefused when the environment would have the runtime follow settings in the model, UsageError when there is no
    such provider: another one does not take its place.
    """
    runtime = _runtime()
    for provider in providers:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in runtime.get_available_providers():
            raise UsageError(f"onnxruntime has no {name} here; it has {', '.join(runtime.get_available_providers())}")
    if os.environ.get(_CONFIG_VARIABLE, "0") not in ("", "0"):
        reason = "the runtime would take its settings from the model"
        raise ConfigRefused("the environment", _CONFIG_VARIABLE, reason, "unset it")
    folder, rest = open_folder(path, trust, source)
    with folder:
        if not rest:
            raise UsageError(f"{printable(os.fspath(path))} is a folder; name the model in it")
        where, model = folder.where(rest), verified(folder, rest)
        outside = _outside(folder, rest, model)
    options = runtime.SessionOptions()
    for key, value in _LOCKED.items():
        options.add_session_config_entry(key, value)
    if threads is not None:
        options.intra_op_num_threads = threads
    if outside:
        sizes = [len(data) for data in outside.values()]
        options.add_external_initializers_from_files_in_memory(list(outside), list(outside.values()), sizes)
    return _session(runtime, bytes(model), options, providers, where)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"load_onnx needs the package onnxruntime: {error}") from error
    return onnxruntime


def _outside(folder: Folder, path: str, model: memoryview) -> Mapping[str, memoryview]:
    """Return the verified bytes of each file that a model's tensors lie in, by the name that the model has for it."""
    where = folder.where(path)
    facts, _ = Examination(Budget(Limits())).run(Reader(model, Location((path,))))
    if not any(isinstance(fact, Recognised) and fact.format == "onnx" for fact in facts):
        raise UnsupportedFormat(where, "not an ONNX model")
    found: dict[str, memoryview] = {}
    for fact in facts:
        if isinstance(fact, Gap):
            raise UnsupportedFormat(where, f"not all of it is understood: {printable(fact.reason)}")
        if not isinstance(fact, ExternalData) or fact.target in found:
            continue
        beside = posixpath.join(posixpath.dirname(path), fact.target)
        if posixpath.normpath(fact.target) != fact.target or beside not in folder.files:
            named = printable(fact.target)
            raise UnsupportedFormat(where, f"its tensors are in {named}, which is not among the approved files", _FIX)
        found[fact.target] = verified(folder, beside)
    return found


def _session(runtime: Any, model: bytes, options: Any, providers: Sequence[Provider], where: str) -> Any:
    """Return the session; the memory that the options refer to is the caller's until then."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    refused = tuple(getattr(state, name) for name in _REFUSED)
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as empty:
        options.add_session_config_entry(_ELSEWHERE, empty)
        try:
            return runtime.InferenceSession(model, options, providers=list(providers), enable_fallback=0)
        except refused as error:
            raise UnsupportedFormat(where, f"ONNX Runtime refuses it: {printable(str(error))}") from error
