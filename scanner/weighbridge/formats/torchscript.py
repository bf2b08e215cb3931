"""TorchScript source: a program that looks like Python and is compiled by torch for an interpreter of its own.

It reaches nothing but operators: `torch.neg(x)` is the operator `aten::neg`, `ops.quantized.add(x, y)` is
`quantized::add`, and `x.neg()` may be either a method of a class of the archive or, for a tensor or a text, `aten::neg`
again. Methods run when the model is used, and `__setstate__` when it is loaded. Among torch's own operators two reach
files by a name of the program's choice; those of other libraries reach whatever they were written for. So the source
is read for names alone: for those two after any dot, and for namespaces. A name that stands for `torch`, `ops` or a
namespace as a whole could hide what is looked up in it, and is not understood.

Source: torch/csrc/jit/serialization/import_source.cpp, torch/csrc/jit/frontend/lexer.h,
torch/csrc/jit/runtime/register_prim_ops.cpp (`aten::save`), aten/src/ATen/native/native_functions.yaml (`from_file`);
`torch._C._jit_get_all_schemas()` of torch 2.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from weighbridge.facts import Fact, Gap, Native
from weighbridge.location import Location

FILES: Final = frozenset({"save", "from_file"})  # operators of torch that read or write the file that they name
# Namespaces of operators that are torch's or torchvision's own and only compute.
_COMPUTING: Final = frozenset(
    "aten prim prims quantized _quantized quantization sparse mkldnn mkldnn_prepacked mkl onednn prepacked xnnpack "
    "torchvision static_runtime tensorexpr rngprims inductor_prims prim_ops profiler".split()
)
_CLASSES: Final = frozenset("quantized rnn sparse xnnpack mkldnn profiler".split())
_BLANK: Final = rb"(?:[ \t\r\n\v\f]|\\\r?\n|#[^\n]*)*"
# Strings and comments are stepped over; then a name with all that is looked up in it, blanks between the parts or not.
_TOKENS: Final = (
    rb"(?P<text>[rR]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'))"
    rb"|(?P<comment>#[^\n]*)"
    rb"|(?P<name>[A-Za-z_]\w*(?:" + _BLANK + rb"\." + _BLANK + rb"[A-Za-z_]\w*)*)"
    rb"|(?P<looked>\." + _BLANK + rb"[A-Za-z_]\w*(?:" + _BLANK + rb"\." + _BLANK + rb"[A-Za-z_]\w*)*)"
    rb"|(?P<odd>[\"'`])"
)
_MOST: Final = 8  # facts of one kind in one file
_SHOWN: Final = 80


def observe(source: bytes, origin: Location, name: str) -> Iterator[Fact]:
    """Yield that this is TorchScript, what in it reaches files, and what is not understood, in the order of the source.

    `name` is that of the member.
    """
    yield Native(location=origin, type="torchscript", detail=name)
    told: dict[str, int] = {}
    for found in re.finditer(_TOKENS, source, re.DOTALL):
        kind = found.lastgroup or ""
        if kind in ("text", "comment"):
            continue
        parts = re.sub(_BLANK, b"", found[0]).decode().split(".") if kind != "odd" else []
        reach, doubt = _look(parts, kind)
        place = origin.at(origin.offset + found.start())
        for what, type_ in ((reach, "reach"), (doubt, "doubt")):
            told[type_] = told.get(type_, 0) + bool(what)
            if what and told[type_] <= _MOST:
                yield (
                    Native(location=place, type="torchscript-file", detail=what)
                    if type_ == "reach"
                    else Gap(location=place, reason=f"TorchScript: {what}", size=0)
                )


def _look(parts: list[str], kind: str) -> tuple[str, str]:
    """Return what reaches files in a name with what is looked up in it, and what is not understood of it."""
    if kind == "odd":
        return "", "a text that does not end"
    shown = ".".join(parts)[:_SHOWN]
    reach = shown if not FILES.isdisjoint(parts[1:]) else ""
    match parts:
        case (
            ["torch"]
            | ["ops"]
            | ["ops", _]
            | ["__torch__"]
            | ["__torch__", "torch"]
            | ["__torch__", "torch", "classes"]
        ):
            return reach, f"{shown!r} stands for all that can be looked up in it"
        case ["ops", namespace, *_] if namespace not in _COMPUTING:
            return reach, f"{shown!r} is an operator that is not torch's own"
        case ["__torch__", "torch", "classes", namespace, *_] if namespace not in _CLASSES:
            return reach, f"{shown!r} is a compiled class that is not known"
    return reach, ""


def mobile(program: bytes, origin: Location) -> Iterator[Fact]:
    """Yield what in the byte code of a mobile module reaches files; its operators are texts in a pickle."""
    for namespace, name in sorted(set(re.findall(rb"([A-Za-z_]\w*)::(\w+)", program))):
        shown = f"{namespace.decode()}::{name.decode()}"[:_SHOWN]
        if namespace == b"aten" and name.decode() in FILES:
            yield Native(location=origin, type="torchscript-file", detail=shown)
        elif namespace.decode() not in _COMPUTING:
            yield Gap(location=origin, reason=f"TorchScript: {shown!r} is an operator that is not torch's own", size=0)
