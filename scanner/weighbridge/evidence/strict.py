"""JSON and base64 as signed documents must be: one meaning for every reader.

A document that two parsers read differently can be signed for one and checked by the other, so duplicate keys, NaN,
unpaired surrogates, what is too deep or too large, and base64 with anything besides its alphabet are refused.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final, NoReturn

from weighbridge.refusals import SignatureMalformed

MAX_DEPTH: Final = 64  # bundles nest about ten deep
MAX_DIGITS: Final = 20  # of a number; a log index or a size has at most 19
# Values and keys in objects and lists. The scan results of a bundle of 64 MiB have 2.8 million; each takes up to 200
# bytes of memory, whatever few bytes it is written in, and all of them are read before anything is verified.
MAX_VALUES: Final = 3 << 20


def read_object(raw: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in `raw`.

    Raises SignatureMalformed when it is anything else or can be read in two ways.
    """
    if sum(raw.count(one) for one in (b",", b"[", b"{")) > MAX_VALUES:
        raise SignatureMalformed(where, f"more than {MAX_VALUES} values")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise SignatureMalformed(where, f"not the JSON of a bundle: {error}") from error
    if not isinstance(value, dict):
        raise SignatureMalformed(where, "not a JSON object")
    _look(value, where)
    return value


def canonical(value: object) -> bytes:
    """Return a value as the JSON whose digest stands for it: keys sorted, no spaces, UTF-8.

    >>> canonical({"b": 1, "a": "é"})
    b'{"a":"\\xc3\\xa9","b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def decode(value: object, what: str, where: str) -> bytes:
    """Return the bytes of a base64 text; raise SignatureMalformed when it is none."""
    if not isinstance(value, str):
        raise SignatureMalformed(where, f"{what} is not text in base64")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise SignatureMalformed(where, f"{what} is not base64: {error}") from error


def member(value: dict[str, Any], key: str, kind: type[Any], where: str) -> Any:
    """Return what stands under a key; raise SignatureMalformed when it is missing or of another kind."""
    found = value.get(key)
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise SignatureMalformed(where, f"{key} is not {_KINDS[kind]}")
    return found


_KINDS: Final = {dict: "an object", list: "a list", str: "text", int: "a number"}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _look(value: object, where: str) -> None:
    """Refuse what is nested too deeply, and text that is not Unicode."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, str) and not one.isascii():
                _refuse_surrogates(one, where)
        if not below:
            return
        level = below
    raise SignatureMalformed(where, f"nested more than {MAX_DEPTH} deep")


def _refuse_surrogates(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SignatureMalformed(where, "a text with half a surrogate pair") from error
