"""The classes with which protobuf's own library parses a model, made from the table of messages.

The onnx package has such classes too. Importing it takes as long as all the rest of a scan, for the numpy that it
brings along, and its classes know the fields of one version. These are the same for everybody, and understand types
that are enumerations as numbers, so a value from outside of the enumeration is seen and not set aside.

Source: google/protobuf/descriptor.proto.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from weighbridge.formats.onnx.messages import Field, names, tags
from weighbridge.formats.onnx.wire import encoded

if TYPE_CHECKING:
    from onnx import ModelProto

_PACKAGE: Final = "weighbridge_onnx"
_OPTIONAL, _REPEATED = 1, 3
_MESSAGE: Final = 11
_TYPES: Final = {"d": 1, "f": 2, "v": 3, "s": 9, "b": 12}


@cache
def model_class() -> type[ModelProto]:
    """Return the class of a model, which has the fields of `onnx.ModelProto` and more values for some of them."""
    from google.protobuf import descriptor_pool, message_factory

    pool: Any = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file())
    found: type[ModelProto] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))
    return found


def decode(data: bytes) -> ModelProto | None:
    """Return the model in `data`, None when protobuf's library refuses it."""
    from google.protobuf.message import DecodeError

    model = model_class()()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return None
    return model


def _file() -> bytes:
    """Return a FileDescriptorProto: name 1, package 2, message_type 4."""
    messages = b"".join(_bytes(4, _message(name)) for name in names())
    return _text(1, f"{_PACKAGE}.proto") + _text(2, _PACKAGE) + messages


def _message(name: str) -> bytes:
    """Return a DescriptorProto: name 1, field 2."""
    fields = {field.number: field for field in tags(name).values()}
    return _text(1, name) + b"".join(_bytes(2, _field(field)) for field in fields.values())


def _field(field: Field) -> bytes:
    """Return a FieldDescriptorProto: name 1, number 3, label 4, type 5, type_name 6, options 8 with packed 2."""
    found = _text(1, field.name) + _number(3, field.number) + _number(4, _REPEATED if field.repeated else _OPTIONAL)
    if field.message:
        return found + _number(5, _MESSAGE) + _text(6, f".{_PACKAGE}.{field.message}")
    found += _number(5, _TYPES[field.kind])
    return found + _bytes(8, _number(2, 1)) if field.packed else found


def _number(number: int, value: int) -> bytes:
    return encoded(number << 3) + encoded(value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode("ascii"))


def _bytes(number: int, value: bytes) -> bytes:
    return encoded(number << 3 | 2) + encoded(len(value)) + value
