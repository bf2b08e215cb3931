"""Archives of torch: what is tensor data and what is not. The archives are built by hand; torch is not needed."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import Any

import pytest
from examining import anomalies, examine, facts_of, formats_of, members, reasons
from hypothesis import given, settings
from hypothesis import strategies as st
from test_zip import BENIGN, CENTRAL, PAYLOAD, archive, calls, patch

from weighbridge.facts import Fact, Inert, Native, Program
from weighbridge.formats.zip.torch import STORAGES, Storage, storages
from weighbridge.location import Location
from weighbridge.symbols import Global, PersistentId

TEXTS = (
    ("m/.format_version", b"1"),
    ("m/.storage_alignment", b"64"),
    ("m/byteorder", b"little"),
    ("m/version", b"3\n"),
    ("m/.data/serialization_id", b"0561108523619670529413445982353095333849"),
)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def ids(*wanted: tuple[str, str, int]) -> bytes:
    """Return a pickle of a list of persistent ids (storage class, key, number of elements)."""
    return (
        b"\x80\x02]("
        + b"".join(
            b"(" + text("storage") + f"ctorch\n{name}\n".encode() + text(key) + text("cpu") + b"J"
            + struct.pack("<i", numel) + b"tQ"
            for name, key, numel in wanted
        )
        + b"e."
    )  # fmt: skip


def model(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive with the small text members of torch behind these."""
    return archive(*entries, *TEXTS, method=method)


def inert(facts: list[Fact]) -> int:
    """Return the bytes of tensor data."""
    return sum(fact.size for fact in facts if isinstance(fact, Inert) and "of the archive" not in fact.reason)


WEIGHTS = bytes(range(48))


def test_storages_that_persistent_ids_name_are_inert_and_everything_is_understood() -> None:
    data = model(
        ("m/data.pkl", ids(("FloatStorage", "0", 12), ("HalfStorage", "1", 3), ("LongStorage", "2", 0))),
        ("m/data/0", WEIGHTS),
        ("m/data/1", WEIGHTS[:6]),
        ("m/data/2", b""),
    )
    facts, tally = examine(data)
    assert anomalies(facts) == set()
    assert (inert(facts), tally.unexamined) == (54, 0)
    assert formats_of(data) == {"zip", "torch-zip", "pickle"}


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, (_, size) in STORAGES.items()])
def test_the_size_of_a_storage_follows_from_its_class(name: str, size: int) -> None:
    data = model(("m/data.pkl", ids((name, "0", 5))), ("m/data/0", b"\xc8" * 5 * size))
    assert inert(facts_of(data)) == 5 * size


@pytest.mark.parametrize(
    ("named", "entry"),
    [
        (("FloatStorage", "0", 11), ("m/data/0", PAYLOAD)),
        (("FloatStorage", "0", 0), ("m/data/0", PAYLOAD)),
        (("ByteStorage", "0", len(PAYLOAD) + 1), ("m/data/0", PAYLOAD)),
    ],
)
def test_a_storage_of_the_wrong_size_is_an_anomaly_and_examined(
    named: tuple[str, str, int], entry: tuple[str, bytes]
) -> None:
    data = model(("m/data.pkl", ids(named)), entry)
    assert "torch-storage-size" in anomalies(facts_of(data))
    assert calls(data) == ["m/data/0"]


@pytest.mark.parametrize(
    "entry",
    [
        ("m/data/1", PAYLOAD),
        ("m/data/00", PAYLOAD),
        ("m/data/0/x", PAYLOAD),
        ("m/DATA/1", PAYLOAD),
        ("m/constants/0", PAYLOAD),
        ("x/data/0", PAYLOAD),
        ("data/0", PAYLOAD),
    ],
)
def test_a_member_that_no_id_names_is_examined(entry: tuple[str, bytes]) -> None:
    data = model(("m/data.pkl", ids(("ByteStorage", "0", len(PAYLOAD)))), entry)
    assert calls(data) == [entry[0]]


@pytest.mark.parametrize("key", ["x.npy", "../data.pkl", "", "model.pkl"])
def test_only_numbered_storages_are_tensor_data(key: str) -> None:
    data = model(("m/data.pkl", ids(("ByteStorage", key, len(PAYLOAD)))), (f"m/data/{key}", PAYLOAD))
    assert calls(data) == [f"m/data/{key}"]


@pytest.mark.parametrize("module", ["os", "torchx", "numpy"])
def test_only_classes_of_torch_are_storages(module: str) -> None:
    pickle = ids(("ByteStorage", "0", len(PAYLOAD))).replace(b"ctorch\n", f"c{module}\n".encode())
    assert calls(model(("m/data.pkl", pickle), ("m/data/0", PAYLOAD))) == ["m/data/0"]


def test_a_storage_whose_headers_disagree_is_examined() -> None:
    data = model(("m/data/0", PAYLOAD), ("m/data.pkl", ids(("ByteStorage", "0", len(PAYLOAD)))))
    assert calls(data) == []
    assert calls(data.replace(b"m/data/0", b"m/data/1", 1)) == ["m/data/0"]


def test_a_packed_storage_is_examined() -> None:
    data = model(("m/data/0", PAYLOAD), ("m/data.pkl", ids(("ByteStorage", "0", len(PAYLOAD)))), method=8)
    assert calls(data) == ["m/data/0"]


@pytest.mark.parametrize(("name", "numel"), [("FloatStorage", 3), ("IntStorage", 12)])
def test_two_ids_of_one_storage_that_differ_are_an_anomaly(name: str, numel: int) -> None:
    data = model(("m/data.pkl", ids(("FloatStorage", "0", 12), (name, "0", numel))), ("m/data/0", WEIGHTS))
    assert "torch-storage-conflict" in anomalies(facts_of(data))


@pytest.mark.parametrize(
    "names",
    [
        ("m/data.pkl", "m/data.pkl"),
        ("m/data.pkl", "m/DATA.PKL"),
        ("m/DATA.PKL", "m/data.pkl"),
        ("m/data.pkl", "evil/data.pkl"),
        ("evil/data.pkl", "m/data.pkl"),
        ("m/aaa/data.pkl", "m/data.pkl"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_every_candidate_for_data_pkl_is_examined(names: tuple[str, str], *, first: bool) -> None:
    """torch takes the first, without regard to case, of the root of the first member."""
    contents = (PAYLOAD, BENIGN) if first else (BENIGN, PAYLOAD)
    data = model(*zip(names, contents, strict=True))
    assert calls(data) == [names[0] if first else names[1]]
    assert names[0].lower() != names[1].lower() or "zip-duplicate-member" in anomalies(facts_of(data))


@pytest.mark.parametrize(("name", "content"), [(name, PAYLOAD) for name, _ in TEXTS])
def test_a_payload_in_the_place_of_a_small_text_is_examined(name: str, content: bytes) -> None:
    entries = [(other, content if other == name else usual) for other, usual in TEXTS]
    assert calls(archive(("m/data.pkl", BENIGN), *entries)) == [name]


def test_without_its_marks_an_archive_with_data_pkl_is_a_plain_one() -> None:
    data = archive(("m/data.pkl", ids(("FloatStorage", "0", 12))), ("m/data/0", WEIGHTS))
    assert "torch-zip" not in formats_of(data)
    assert "no known format" in reasons(facts_of(data))


def test_torchscript_source_is_native_code_and_its_pickles_are_examined() -> None:
    source = b"class M(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    return torch.neg(x)\n"
    data = model(
        ("m/data.pkl", BENIGN),
        ("m/code/__torch__.py", source),
        ("m/code/__torch__.py.debug_pkl", PAYLOAD),
        ("m/constants.pkl", ids(("FloatStorage", "0", 12))),
        ("m/constants/0", WEIGHTS),
        ("m/traced_inputs.pkl", ids(("FloatStorage", "0", 12))),
        ("m/traced_inputs/0", b""),
        method=zipfile.ZIP_STORED,
    )
    facts, tally = examine(data)
    native = [fact for fact in facts if isinstance(fact, Native)]
    assert [(fact.type, fact.detail) for fact in native] == [("torchscript", "m/code/__torch__.py")]
    assert calls(data) == ["m/code/__torch__.py.debug_pkl"]
    assert (inert(facts), tally.unexamined, anomalies(facts)) == (48, 0, set())


def test_binary_content_under_a_name_of_torchscript_is_examined() -> None:
    binary = b"\x80\x02" + PAYLOAD
    assert calls(model(("m/data.pkl", BENIGN), ("m/code/x.py", binary))) == ["m/code/x.py"]


def test_one_run_of_bytes_under_two_names_is_read_as_both() -> None:
    """Two directory entries for one local header, the first of them under a name of TorchScript source."""
    data = model(("m/code/x.py", PAYLOAD), ("m/y.pickle.1", BENIGN), ("m/data.pkl", BENIGN))
    second = data.index(CENTRAL, data.index(CENTRAL) + 4)
    changed = bytearray(data)
    changed[second : second + 46] = data[second - 46 - 11 : second - 11]
    struct.pack_into("<H", changed, second + 28, 12)
    assert calls(bytes(changed)) == ["m/y.pickle.1"]


def test_storages_of_a_program_are_told_by_key() -> None:
    origin = Location(("file",))
    floats = Global(origin, 0, ("torch", "FloatStorage"), "torch", "FloatStorage")
    values = [
        ("storage", floats, "0", "cpu", 12),
        ("storage", floats, "0", "cpu", 13),
        ("storage", floats, "1", "cpu", -1),
        ("storage", floats, 2, "cpu", 1),
        ("module", floats, "3", "cpu", 1),
        ("storage", "FloatStorage", "4", "cpu", 1),
        "0",
        None,
    ]
    events = [PersistentId(origin, 0, value) for value in values]
    program = Program(location=origin, events=events, result=None, size=1, complete=True)
    assert storages(program) == {"0": Storage("float32", 12)}
    assert storages(program)["0"].size == 48


GRAPH: dict[str, object] = {"graph_module": {"graph": {"nodes": []}}}
EXPORT = (("m/archive_format", b"pt2"), ("m/archive_version", b"0"), ("m/.data/version", b"6\n"))


def exported(graph: object = GRAPH, payload: bytes = WEIGHTS, **meta: Any) -> bytes:
    """Return an archive as torch.export writes it, with one tensor of 4 by 3 floats."""
    tensor = {
        "dtype": 7,
        "sizes": [{"as_int": 4}, {"as_int": 3}],
        "strides": [{"as_int": 3}, {"as_int": 1}],
        "storage_offset": {"as_int": 0},
        **meta,
    }
    config = {"config": {"w": {"path_name": "weight_0", "use_pickle": False, "tensor_meta": tensor}}}
    return archive(
        ("m/data/weights/weight_0", payload),
        ("m/data/weights/model_weights_config.json", json.dumps(config).encode()),
        ("m/data/constants/model_constants_config.json", b'{"config": {}}'),
        ("m/models/model.json", json.dumps(graph).encode()),
        *EXPORT,
    )


def test_an_exported_program_is_understood() -> None:
    facts, tally = examine(exported())
    assert (anomalies(facts), inert(facts), tally.unexamined) == (set(), 48, 0)


@pytest.mark.parametrize(
    ("payload", "meta"),
    [
        (WEIGHTS[:44], {}),
        (WEIGHTS + b"x", {}),
        (WEIGHTS, {"dtype": 8}),
        (WEIGHTS, {"storage_offset": {"as_int": 1}}),
        (WEIGHTS, {"strides": [{"as_int": 4}, {"as_int": 1}]}),
    ],
)
def test_a_raw_tensor_of_the_wrong_size_is_an_anomaly(payload: bytes, meta: dict[str, Any]) -> None:
    assert "torch-storage-size" in anomalies(facts_of(exported(GRAPH, payload, **meta)))


@pytest.mark.parametrize("meta", [{"dtype": 99}, {"sizes": [{"as_int": -4}, {"as_int": 3}]}, {"sizes": 4}])
def test_a_configuration_that_is_not_understood_leaves_its_tensors_unexamined(meta: dict[str, Any]) -> None:
    facts, tally = examine(exported(GRAPH, WEIGHTS, **meta))
    assert (inert(facts), tally.unexamined >= 48) == (0, True)


@pytest.mark.parametrize(
    ("graph", "code"),
    [
        ({"expr_str": "Mul(Integer(2), Symbol('s77', positive=True, integer=True))"}, ""),
        ({"expr_str": "2*s0 + FloorDiv(s1, 3)"}, ""),
        ({"expr_str": "Float('1.5', precision=53)"}, ""),
        ({"expr_str": "__import__('os').system('id')"}, "pt2-expression"),
        ({"expr_str": "eval('1')"}, "pt2-expression"),
        ({"expr_str": "Symbol('s0').func.__globals__"}, "pt2-expression"),
        ({"expr_str": "Add('exec')"}, "pt2-expression"),
        ({"guards_code": ["L['x'].size()[0] + (L['y'].size()[0] // 2) <= 2*L['x'].size()[0]"]}, ""),
        ({"guards_code": ["L['args'][0].stride()[1] % 2 == 0"]}, ""),
        ({"guards_code": ["__import__('os').system('id') == 0"]}, "pt2-expression"),
        ({"guards_code": ["L['x'].__class__ == 1"]}, "pt2-expression"),
        ({"target": "torch.ops.aten.add.Tensor"}, ""),
        ({"target": "torch.ops._c10d_functional.wait_tensor.default"}, ""),
        ({"target": "torch.ops.higher_order.cond"}, ""),
        ({"target": "_operator.floordiv"}, ""),
        ({"target": "torch.hub.load"}, "pt2-operator"),
        ({"target": "torch.serialization.os.system"}, "pt2-operator"),
        ({"target": "torch.ops.load_library.__call__"}, "pt2-operator"),
        ({"target": "_operator.call"}, "pt2-operator"),
        ({"target": "#ext:x"}, "pt2-operator"),
        ({"as_operator": "torch.os.system"}, "pt2-operator"),
        ({"in_spec": json.dumps([1, {"type": "builtins.dict", "context": json.dumps(["a"])}])}, ""),
        ({"in_spec": '[1, {"context": "[{\\"__enum__\\": true, \\"fqn\\": \\"os:x\\"}]"}]'}, "pt2-import"),
        ({"in_spec": '[1, {"context": "[{\\"\\\\u005f_enum__\\": true}]"}]'}, "pt2-import"),
        ({"in_spec": '{"default_factory_module": "os"}'}, "pt2-import"),
    ],
)
def test_strings_that_loading_an_exported_program_runs_look_as_written_by_the_exporter(
    graph: dict[str, object], code: str
) -> None:
    facts = facts_of(exported({**GRAPH, **graph}))
    assert anomalies(facts) == ({code} if code else set())


@pytest.mark.parametrize(
    "graph", [b"{", b'{"graph_module": {}, "graph_module": {}}', b"[" * 100_000, b"[]", b"\xff\xfe", b""]
)
def test_a_graph_that_is_none_is_left_to_the_other_formats(graph: bytes) -> None:
    data = archive(("m/models/model.json", graph), *EXPORT)
    assert graph in (b"", b"[]") or reasons(facts_of(data))
    assert ("file", "m/models/model.json") in members(facts_of(data))


SEED = model(("m/data.pkl", ids(("ByteStorage", "0", len(PAYLOAD)))), ("m/data/0", PAYLOAD))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), max_size=3))
def test_mutated_archives_of_torch_give_facts(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(SEED)
    for position, value in changes:
        changed[position] = value
    facts, tally = examine(bytes(changed))
    assert facts
    assert 0 <= tally.unexamined + tally.inert <= tally.size


def test_an_encrypted_storage_is_not_tensor_data() -> None:
    data = model(("m/data/0", WEIGHTS), ("m/data.pkl", ids(("FloatStorage", "0", 12))))
    assert inert(facts_of(patch(data, CENTRAL, 8, "<H", 1))) == 0
