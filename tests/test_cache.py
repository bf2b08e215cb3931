"""Facts that are kept give the verdict that the bytes give, and nothing that is wrong with them ever passes."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import grimp
import pytest
from checkpoints import checkpoint
from examining import examine, facts_of
from hypothesis import given
from hypothesis import strategies as st
from safetensors_files import tensor_file

from weighbridge import cache, cli, fact_codec
from weighbridge.cache import Cache, open_cache
from weighbridge.cli import group
from weighbridge.digest import Digest
from weighbridge.examination import Tally
from weighbridge.expression import express
from weighbridge.fact_codec import CodecError, decode, encode
from weighbridge.facts import Fact, Gap, Inert, NotKeptError, Program
from weighbridge.judgement import check
from weighbridge.limits import Limits
from weighbridge.location import Location
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome, Verdict
from weighbridge.report import FORMATS
from weighbridge.report.base import Style
from weighbridge.rule_files import shipped_folder
from weighbridge.rules import RuleSet
from weighbridge.symbols import Call, Dict, Event, Form, Global, Items, Opaque, Span, State
from weighbridge.trust import Trust

FIXTURES = Path(__file__).parent.parent / "fixtures"
HOSTILE = b"\x80\x04cos\nsystem\n(X\x07\x00\x00\x00echo hitR."
ACCOUNT = (1, 2, 3)


@pytest.fixture(autouse=True)
def environment(own_places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in the folder that has the settings and the store."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kept(tmp_path: Path) -> Cache:
    found = open_cache(tmp_path / "home", Limits())
    assert found is not None
    return found


def entries(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "home" / "facts").rglob("*") if path.is_file())


def told(verdict: Verdict) -> str:
    return "\n".join(FORMATS["json"]()(verdict, Style()))


def shape(value: Any, seen: dict[int, int], nested: frozenset[int]) -> Any:
    """Return what a value is, with the number of the first look in place of a second one at what has an identity."""
    if id(value) in nested:
        return ("nested", shape(value, seen, nested - {id(value)}))
    if id(value) in seen:
        return ("again", seen[id(value)])
    if isinstance(value, Event):
        seen[id(value)] = len(seen)
        names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        parts = [(name, getattr(value, name)) for name in sorted(names)]
        plain = ("origin", "spelled", "module", "name") if isinstance(value, Global) else ("origin",)
        return (type(value), [(name, one if name in plain else shape(one, seen, nested)) for name, one in parts])
    if isinstance(value, list | tuple):
        seen[id(value)] = len(seen)
        return (type(value), [shape(one, seen, nested) for one in value])
    if isinstance(value, Span | Opaque):
        return (type(value), [getattr(value, name) for name in type(value).__slots__])
    return (type(value), repr(value))


def shapes(facts: list[Fact]) -> Any:
    seen: dict[int, int] = {}
    return [
        (
            [shape(event, seen, fact.nested) for event in fact.events],
            shape(fact.result, seen, fact.nested),
            (fact.location, fact.size, fact.complete, fact.reading, fact.protocol, fact.exactly is None),
        )
        if isinstance(fact, Program)
        else fact
        for fact in facts
    ]


def assert_same(facts: list[Fact]) -> None:
    data = encode(facts, ACCOUNT)
    back, account = decode(data)
    assert account == ACCOUNT
    assert shapes(back) == shapes(facts)
    assert encode(back, ACCOUNT) == data


def all_fixtures() -> list[Path]:
    return sorted(path for path in FIXTURES.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))


def test_every_fixture_has_the_same_facts_and_the_same_judgement_when_it_was_kept() -> None:
    rules, trust = RuleSet.shipped(), Trust(f"{shipped_folder()}/trust")
    for path in all_fixtures():
        facts = facts_of(path.read_bytes())
        assert_same(facts)
        back, _ = decode(encode(facts, ACCOUNT))
        try:
            judgement = check(back, rules, trust)
        except NotKeptError:  # it is parsed again
            continue
        assert judgement == check(facts, rules, trust), path


def test_every_report_on_the_fixtures_is_the_same_to_the_byte(kept: Cache, tmp_path: Path) -> None:
    plain = told(scan([FIXTURES]))
    first, second = told(scan([FIXTURES], cache=kept)), told(scan([FIXTURES], cache=kept))
    assert first == plain and second == plain
    assert len(entries(tmp_path)) > 100


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_detail_of_a_report_is_the_same(jobs: int, kept: Cache, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m.pt").write_bytes(checkpoint({"a.weight": (3, 4)}))
    (folder / "m.pkl").write_bytes(HOSTILE)
    (folder / "m.safetensors").write_bytes(tensor_file({"t": bytes(4)}))
    expected = scan([folder], detail=True)
    for _ in range(2):
        assert scan([folder], detail=True, cache=kept, jobs=jobs) == expected


class Anything:
    """What pickles of any shape are made of: its objects get states, and keys that are objects."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return (OrderedDict, (), {"value": self.value}, iter([self.value]), iter([(1, self.value)]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(Anything, inner)
        | st.builds(lambda one: (one, one, [one]), inner)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(0, 5))
def test_any_pickle_comes_back_as_it_was(value: Any, protocol: int) -> None:
    assert_same(facts_of(pickle.dumps(value, protocol)))


@given(st.binary(max_size=60))
def test_any_bytes_of_a_pickle_come_back_as_they_were(data: bytes) -> None:
    assert_same(facts_of(b"\x80\x04" + data))


def event(number: int) -> Call:
    here = Location(("f",), number)
    return Call(here, number, Global(here, 0, ("a", "b"), "a", "b"), (), None, Form.REDUCE)


def program(events: list[Any], result: Any) -> list[Fact]:
    return [Program(location=Location(("f",)), events=events, result=result, size=1, complete=True)]


def test_cycles_and_what_is_shared_stay_as_they_are() -> None:
    inner: list[Any] = []
    outer = ((inner, 1), inner)
    inner += [outer, outer[0], inner]
    call = event(1)
    call.state = Dict([outer, call])
    events = [call, State(call.origin, 2, call, inner), Items(call.origin, 3, call, inner, "APPENDS")]
    assert_same(program(events, outer))
    back = decode(encode(program(events, outer), ACCOUNT))[0][0]
    assert isinstance(back, Program)
    assert back.result[0] is back.result[1][1] and back.result[0][0] is back.result[1]  # type: ignore[index]
    assert back.events[2].values is back.events[1].state  # type: ignore[attr-defined]
    assert express(back.events[0]) == "a.b()"


def test_depth_and_doubling_take_no_time() -> None:
    deep: Any = ()
    for _ in range(20_000):
        deep = (deep,)
    wide: Any = ("x",)
    for _ in range(200):
        wide = (wide, wide)
    lists: Any = []
    for _ in range(20_000):
        lists = [lists]
    for value in (deep, wide, lists):
        data = encode(program([], value), ACCOUNT)
        assert encode(decode(data)[0], ACCOUNT) == data


def test_a_million_numbers_that_nothing_depends_on_take_no_place() -> None:
    facts = facts_of(pickle.dumps({"a": [number / 3 for number in range(100_000)], "b": [1, 1, 1, 1, 2, 2]}, 4))
    assert_same(facts)
    assert len(encode(facts, ACCOUNT)) < 1000


@pytest.mark.parametrize(
    "facts",
    [
        program([], [str(number) for number in range(fact_codec.MAX_NODES + 1)]),
        program([], object()),
        program([object()], None),
        [Fact(location=Location(("f",)))],
        [Inert(location=Location(("f",)), size="1", reason="r")],  # type: ignore[arg-type]
        [Inert(location=Location(("f",)), size=1, reason="r")] * (fact_codec.MAX_FACTS + 1),
    ],
)
def test_what_has_no_form_or_is_too_much_is_not_written(facts: list[Fact]) -> None:
    with pytest.raises(CodecError):
        encode(facts, ACCOUNT)


def test_a_program_that_may_have_to_be_told_value_by_value_asks_for_its_bytes() -> None:
    back = [fact for fact in decode(encode(runs(), ACCOUNT))[0] if isinstance(fact, Program)]
    assert back[0].exactly is not None
    with pytest.raises(NotKeptError):
        back[0].exactly()


def runs() -> list[Fact]:
    """Return the facts of a pickle with a run in it."""
    facts = facts_of(pickle.dumps([Decimal(number) / 7 for number in range(5000)], 4))
    assert any(isinstance(fact, Program) and fact.exactly is not None for fact in facts)
    return facts


def test_what_would_take_all_the_memory_is_an_error() -> None:
    data = encode(program([], [1, 1, 1, 1]), ACCOUNT)
    assert b"[1,4]" in data
    with pytest.raises(CodecError):
        decode(data.replace(b"[1,4]", b"[1,4000000000000]"))


@given(st.data())
def test_bytes_that_are_no_facts_are_an_error_and_nothing_else(data: st.DataObject) -> None:
    good = encode(facts_of(HOSTILE), ACCOUNT)
    begin = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(begin, min(len(good), begin + 8)))
    bad = good[:begin] + data.draw(st.binary(max_size=8)) + good[end:]
    with contextlib.suppress(CodecError):
        decode(bad)


def mutate(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b" ",
        lambda data: data.replace(b'"system"', b'"getcwd"'),
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:25] + bytes([data[25] ^ 1]) + data[26:],
        lambda data: data * 100_000,
    ],
    ids=["empty", "cut", "longer", "another callable", "magic", "mac", "huge"],
)
def test_an_entry_that_somebody_changed_is_none(change: Callable[[bytes], bytes], kept: Cache, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    expected = told(scan(["m.pkl"], cache=kept))
    (entry,) = entries(tmp_path)
    before = entry.read_bytes()
    mutate(entry, change)
    assert entry.read_bytes() != before
    assert kept.find(Digest.of(HOSTILE), "m.pkl") is None
    assert told(scan(["m.pkl"], cache=kept)) == expected
    assert entry.read_bytes() == before  # it was parsed and kept again


def test_the_entry_of_another_file_is_none(kept: Cache, tmp_path: Path) -> None:
    plain = b"\x80\x04N."
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    scan(["m.pkl"], cache=kept)
    (bad,) = entries(tmp_path)
    (tmp_path / "m.pkl").write_bytes(plain)
    scan(["m.pkl"], cache=kept)
    (good,) = (path for path in entries(tmp_path) if path != bad)
    shutil.copy(good, bad)
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    assert scan(["m.pkl"], cache=kept).outcome is Outcome.FAIL


def test_what_was_made_with_another_key_other_parsers_or_limits_is_none(tmp_path: Path, kept: Cache) -> None:
    kept.keep(Digest.of(HOSTILE), "m.pkl", *examined(HOSTILE))
    found = kept.find(Digest.of(HOSTILE), "m.pkl")
    assert found is not None and found[1] == examined(HOSTILE)[1]
    assert kept.find(Digest.of(HOSTILE), "n.pkl") is None
    assert kept.find(Digest.of(b""), "m.pkl") is None
    for other in (
        open_cache(tmp_path / "home", Limits(max_depth=3)),
        Cache(folder=kept.folder, secret=kept.secret, version="other"),
        Cache(folder=kept.folder, secret=b"x" * 32, version=kept.version),
    ):
        assert other is not None and other.find(Digest.of(HOSTILE), "m.pkl") is None
    (tmp_path / "config" / cache.KEY).unlink()
    again = open_cache(tmp_path / "home", Limits())
    assert again is not None and again.find(Digest.of(HOSTILE), "m.pkl") is None


def test_the_key_is_made_with_the_first_facts_and_the_first_process_makes_it(tmp_path: Path) -> None:
    one, other = (open_cache(tmp_path / "home", Limits()) for _ in range(2))
    assert one is not None and other is not None and one.fresh and other.fresh
    assert not (tmp_path / "config").exists()
    for each in (one, other, one):
        each.keep(Digest.of(HOSTILE), "m.pkl", *examined(HOSTILE))
        assert (tmp_path / "config" / cache.KEY).read_bytes() == one.secret
        assert len(entries(tmp_path)) == 1
    assert one.find(Digest.of(HOSTILE), "m.pkl") is not None
    again = open_cache(tmp_path / "home", Limits())
    assert again is not None and not again.fresh and again.find(Digest.of(HOSTILE), "m.pkl") is not None


def examined(data: bytes) -> tuple[list[Fact], Tally]:
    return examine(data)


def test_facts_with_a_gap_are_not_kept(kept: Cache, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04N")
    assert scan(["m.pkl"], cache=kept).gaps
    assert entries(tmp_path) == []
    gap: list[Fact] = [Gap(location=Location(("m.pkl",)), reason="r")]
    key = kept._key(Digest.of(b""), "m.pkl")
    path = Path(kept._path(key))
    path.parent.mkdir()
    payload = encode(gap, (0, 0, 0))
    path.write_bytes(kept._head(key, payload) + payload)
    assert kept.find(Digest.of(b""), "m.pkl") is None


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_only_the_user_may_enter_and_a_folder_that_others_may_is_not_used(kept: Cache, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    scan(["m.pkl"], cache=kept)
    facts = tmp_path / "home" / "facts"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in (facts, *facts.iterdir()))
    assert all(
        stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (*entries(tmp_path), tmp_path / "config/cache.key")
    )
    facts.chmod(0o770)
    assert open_cache(tmp_path / "home", Limits()) is None
    facts.chmod(0o700)
    (tmp_path / "config" / cache.KEY).chmod(0o640)
    assert open_cache(tmp_path / "home", Limits()) is None
    (tmp_path / "config" / cache.KEY).chmod(0o600)
    (tmp_path / "config" / cache.KEY).write_bytes(b"short")
    assert open_cache(tmp_path / "home", Limits()) is None
    shutil.rmtree(facts)
    facts.symlink_to(tmp_path)
    assert open_cache(tmp_path / "home", Limits()) is None


def test_a_cache_that_cannot_be_written_fails_nothing(kept: Cache, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    shutil.rmtree(tmp_path / "home" / "facts")
    (tmp_path / "home" / "facts").write_text("")
    assert scan(["m.pkl"], cache=kept).outcome is Outcome.FAIL
    assert scan(["m.pkl"], cache=kept).outcome is Outcome.FAIL


def test_the_oldest_entries_of_a_folder_go_when_there_are_too_many(
    kept: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cache, "_key", lambda _, digest, name: b"\0" + Digest.of(name.encode()).value.encode())
    monkeypatch.setattr(cache, "MAX_FOLDER", 2000)
    digest, (facts, tally) = Digest.of(HOSTILE), examined(HOSTILE)
    for number in range(20):
        kept.keep(digest, str(number), facts, tally)
        path = kept._path(kept._key(digest, str(number)))
        os.utime(path, (number, number))
        if number == 5:
            os.utime(kept._path(kept._key(digest, "0")), (100, 100))  # of use meanwhile
    left = [number for number in range(20) if kept.has(digest, str(number))]
    assert 0 in left and 19 in left and 1 not in left and 2 <= len(left) < 8


def test_the_digest_of_the_parsers_covers_every_module_that_facts_depend_on() -> None:
    graph = grimp.build_graph("weighbridge")
    used = graph.find_upstream_modules("weighbridge.examination") | graph.find_upstream_modules(
        "weighbridge.fact_codec"
    )
    names = {name.removeprefix("weighbridge.") for name in used if not name.startswith("weighbridge.formats")}
    for module in graph.find_descendants("weighbridge.formats"):
        deeper = graph.find_upstream_modules(module)
        names |= {name.removeprefix("weighbridge.") for name in deeper if not name.startswith("weighbridge.formats")}
    assert names - {"weighbridge", "version"} <= set(cache.MODULES)


def run(*arguments: str) -> int:
    return cli._run(group.run, list(arguments))


def test_the_gate_and_scans_keep_facts_and_no_cache_does_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "m.safetensors").write_bytes(tensor_file({"t": bytes(4)}))
    (model / "config.json").write_bytes(b'{"model_type": "bert"}')
    assert run("gate", "model", "--to", "a", "--no-cache") == 0
    assert entries(tmp_path) == []
    assert run("gate", "model", "--to", "b") == 0
    first = entries(tmp_path)
    assert len(first) == 2
    times = {path: path.stat().st_mtime_ns for path in first}
    for path in first:
        os.utime(path, (1, 1))
    capfd.readouterr()
    assert run("gate", "model", "--to", "c", "--format", "json", "--output", "c.json") == 0
    assert "weighbridge: 2 of 2 files known from before" in capfd.readouterr().err
    assert entries(tmp_path) == first and all(path.stat().st_mtime_ns > 10**9 for path in times)
    assert json.loads(Path("c.json").read_text())["outcome"] == "pass"
    assert run("scan", f"file://{model}") == 0 and entries(tmp_path) == first


def test_a_local_scan_keeps_facts_when_it_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    assert run("scan", "m.pkl") == 1 and run("scan", "m.pkl", "--no-cache") == 1
    assert not (tmp_path / "home").exists()
    assert run("scan", "m.pkl", "--cache") == 1 and run("scan", "m.pkl", "--cache") == 1
    assert len(entries(tmp_path)) == 1


def test_changed_rules_judge_the_kept_facts_anew(tmp_path: Path, kept: Cache) -> None:
    """A rule that is taken away takes its finding away, although nobody reads the file again."""
    (tmp_path / "m.pkl").write_bytes(HOSTILE)
    assert scan(["m.pkl"], cache=kept).findings
    shutil.copytree(shipped_folder(), tmp_path / "rules")
    for path in (tmp_path / "rules").rglob("PKL001-*.yaml"):
        path.write_text(path.read_text().replace("severity: critical", "severity: low"))
    rules = RuleSet.load(tmp_path / "rules")
    severities = {one.rule.severity.value for one in scan(["m.pkl"], cache=kept, rules=rules).findings}
    assert severities == {"low"}


def test_a_file_whose_bytes_are_not_those_of_the_entry_is_parsed(kept: Cache, tmp_path: Path) -> None:
    """Digests are of the bytes that are there now, whatever the file had before."""
    path = tmp_path / "m.pkl"
    for _ in range(3):
        path.write_bytes(HOSTILE)
        assert scan([path], cache=kept).outcome is Outcome.FAIL
        path.write_bytes(b"\x80\x04N.")
        assert scan([path], cache=kept).outcome is Outcome.PASS
