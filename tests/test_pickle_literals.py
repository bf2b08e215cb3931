"""Programs inside the literals of a pickle, and texts that are or are not pickles themselves."""

from __future__ import annotations

import base64
import bz2
import os
import pickle
import random
import re
import struct
import zlib
from collections.abc import Callable

import pytest
from examining import anomalies, facts_of, formats_of, members, reasons
from pickles import SYSTEM, calls, run

from weighbridge.facts import Gap
from weighbridge.formats.pickle.embedded import BASE64, BEGINNING, HEXADECIMAL, PROGRAM_STARTS, RAW


@pytest.mark.parametrize(
    "encode",
    [
        bytes,
        lambda data: b"\x80\x02" + data,
        lambda data: data.hex(),
        lambda data: base64.b64encode(data).decode(),
        lambda data: base64.b64encode(data),
        zlib.compress,
    ],
    ids=["raw", "with-proto", "hex", "base64", "base64-bytes", "zlib"],
)
def test_a_program_in_a_literal_is_found(encode: Callable[[bytes], object]) -> None:
    inner = b"\x80\x04" + SYSTEM + b"\x8c\x10echo a long line\x85R."
    data = pickle.dumps({"weights": encode(inner)}, 4)
    assert "os.system('echo a long line')" in calls(data)
    assert ("literal" in {kind for kind, _ in members(facts_of(data))}) is True


@pytest.mark.parametrize("third", [0x28, 0x63, 0x7D, 0x8C, 0x95, 0xFF])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_protocol_is_known_in_base64_whatever_follows_it(protocol: int, third: int) -> None:
    text = base64.b64encode(bytes((0x80, protocol, third)) + bytes(24)).decode()
    assert re.fullmatch(BASE64, text)
    assert re.match(BEGINNING, text.encode())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_framed_program_in_base64_is_found(protocol: int) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("echo a long line",)

    text = base64.b64encode(pickle.dumps([Runs()] * 2, protocol)).decode()
    assert "os.system('echo a long line')" in calls(pickle.dumps({"weights": text}, 4))


@pytest.mark.parametrize("encode", [bytes.hex, lambda data: base64.b64encode(data).decode(), bytes.decode])
@pytest.mark.parametrize(
    "inner",
    [
        b"cos\nsystem\n(S'echo a long line'\ntR.",
        b"(cos\nsystem\nS'echo a long line'\no.",
        b"(S'echo a long line'\nios\nsystem\n.",
        b"ios\nsystem\n.cos\nsystem\n(S'echo a long line'\ntR.",
    ],
)
def test_a_text_pickle_in_a_literal_is_looked_at(encode: Callable[[bytes], str], inner: bytes) -> None:
    """However it begins: whether it is told depends on what the pattern of such beginnings knows."""
    text = encode(inner)
    machine = run(pickle.dumps({"weights": text}, 4))
    known = re.match(RAW.decode(), text) or re.match(BASE64, text) or re.match(HEXADECIMAL, text)
    assert bool(known) == any(value == text for _, _, value in machine.literals)


def test_every_beginning_of_a_program_has_a_first_byte_that_is_looked_for() -> None:
    begins_so = [BEGINNING, RAW, BASE64.encode(), HEXADECIMAL.encode()]
    ends = [b"\x02", b"K\x03\x04", b"\x8b\x08", b"\x9c", b"NUMPY", b"AI", b"EsDB", b"4sI", b"a", b"M", b"0 04", b"3"]
    ends += [b"8 63", b"os\nsystem", b"cos\nsystem", b"ios\nsystem"]
    found = {
        n for n in range(256) if any(re.match(one, bytes((n,)) + end + b"41" * 20) for one in begins_so for end in ends)
    }
    assert found == PROGRAM_STARTS


def test_a_text_pickle_passed_to_a_loader_is_run() -> None:
    data = b"\x80\x04\x8c\x06pickle\x8c\x05loads\x93C\x15cos\nsystem\n(S'id'\ntR.\x85R."
    assert "os.system('id')" in calls(data)


def test_protocol_two_bytes_passed_to_a_loader_are_decoded() -> None:
    inner = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."
    text = inner.decode("latin-1").encode()
    data = b"\x80\x02ctorch.storage\n_load_from_bytes\nc_codecs\nencode\nX" + struct.pack("<I", len(text)) + text
    data += b"X\x06\x00\x00\x00latin1\x86R\x85R."
    assert "os.system('id')" in calls(data)


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x05\x14", b"x\x9c\0", b"\x80\x04\x95\0\0\0\0\0\0\0"])
def test_a_number_of_numpy_that_begins_as_a_program_is_no_gap(start: bytes) -> None:
    data = start.ljust(16, b"\0")
    scalar = b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x06scalar\x93\x8c\x01ZC\x10" + data + b"\x86R."
    assert not reasons(facts_of(scalar))
    loaded = b"\x80\x04\x8c\x06pickle\x8c\x05loads\x93C\x10" + data + b"\x85R."
    assert reasons(facts_of(loaded))


def test_a_literal_that_two_calls_get_is_examined_for_the_one_that_loads() -> None:
    data = (
        b"\x80\x04C\x08\x80\x02\0\0\0\0\0\0\x940\x8c\x01m\x8c\x01f\x93h\0\x85R0\x8c\x06pickle\x8c\x05loads\x93h\0\x85R."
    )
    assert reasons(facts_of(data))


@pytest.mark.parametrize("pack", [bytes, zlib.compress], ids=["raw", "zlib"])
def test_a_program_that_a_call_of_another_name_gets_is_told(pack: Callable[[bytes], bytes]) -> None:
    inner = pack(b"\x80\x04" + SYSTEM + b"\x8c\x10echo a long line\x85R.")
    data = b"\x80\x04\x8c\x01m\x8c\x01f\x93C" + bytes([len(inner)]) + inner + b"\x85R."
    assert "os.system('echo a long line')" in calls(data)


def test_a_pickle_of_letters_that_holds_a_prompt_is_both_and_no_polyglot() -> None:
    facts = facts_of(pickle.dumps({"prompt": "Hello {{ name }}"}, 0))
    assert {fact.subject for fact in facts if fact.kind == "format"} == {"pickle", "jinja"}
    assert not anomalies(facts) and not reasons(facts)


def test_a_prompt_before_many_other_texts_is_found() -> None:
    data = pickle.dumps(["{{ ''.__class__ }}", *(f"text {index}" for index in range(9000))], 0)
    assert len(data) > 1 << 16 and {"pickle", "jinja"} <= formats_of(data)


def test_data_that_looks_like_a_pickle_is_no_gap() -> None:
    facts = facts_of(pickle.dumps({"weights": b"\x80\x04" + bytes(range(200, 256)) * 4}, 4))
    assert not [fact for fact in facts if isinstance(fact, Gap)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"# A model\n\nThis is a text.\n", set()),
        (b"(c) 2020 somebody\nall rights reserved\n", set()),
        (b"I am a text\n", set()),
        (b"[PAD]\n[UNK]\nthe\n", set()),
        (b"cos\nsystem\n(S'id'\ntR.", {"pickle"}),
        (pickle.dumps([1, 2], 0), {"pickle"}),
        (pickle.dumps({"a": list(range(5000))}, 0), {"pickle"}),
        (pickle.dumps([1, 2], 1), {"pickle"}),
        (pickle.dumps(["a", "b" * 10_000], 0), {"pickle"}),
        (pickle.dumps(["a", "b" * 10_000], 1), {"pickle"}),
        (bz2.compress(random.Random(1).randbytes(5000)), set()),
        (b"T" * 5000, set()),
    ],
)
def test_a_pickle_without_proto_is_told_from_text(text: bytes, expected: set[str]) -> None:
    assert formats_of(text) & {"pickle"} == expected


def test_encoded_text_that_is_no_utf8_is_no_crash() -> None:
    text = b"x" * 5000 + b"\xff"
    data = b"\x80\x02c_codecs\nencode\nX" + struct.pack("<I", len(text)) + text + b"X\x06\x00\x00\x00latin1\x86R."
    assert calls(data)[0].startswith("_codecs.encode(<str, 5001 bytes")
