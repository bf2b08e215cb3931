"""Mutated bundles, statements and folders: what is accepted is what was signed, and every refusal has its class.

`WEIGHBRIDGE_FUZZ` sets how many mutations of each kind are tried (CI: few; before a release: 20 000).
"""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from oms_files import HASHES, NOW, bundle, key, payload, resources, shards, signature, trust, write

from weighbridge.errors import SourceError
from weighbridge.evidence import oms, requirement
from weighbridge.evidence.tree import Tree
from weighbridge.evidence.trust_policy import TrustPolicy
from weighbridge.refusals import EvidenceError

COUNT = int(os.environ.get("WEIGHBRIDGE_FUZZ", "300"))
MODEL = {"config.json": b"{}", "weights/a.bin": b"\0" * 250, "weights/b.bin": b"\1" * 100, "z": b"z"}
FORMS: dict[str, bytes] = {
    "files": payload(resources(MODEL)),
    "blake2b": payload(resources(MODEL, "blake2b"), hash_type="blake2b", ignore_paths=["model.sig", ".git"]),
    "shards": payload(shards(MODEL, 100), method="shards", shard_size=100.0),
    "subjects": payload(
        TYPE=oms.DIGESTS,
        SUBJECT=[{"name": one["name"], "digest": {"sha256": one["digest"]}} for one in resources(MODEL)],
        PREDICATE={},
    ),
}
VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 1.5, 1e300, 1 << 63, 1 << 70, "", ".", "..", "/", "a", "../a", "a\0", "config.json", "é"),
    *("z:0:1", "config.json:0:2", "sha256", "blake2b", "blake3", "md5", "files", "shards", "0" * 64),
    *([], {}, [None], [[]], {"a": {}}, {"sha256": "0" * 64}),
]
ODD_NAMES = ["a", ".git/x", "weights/c", "config.json.bak", "\u202ex", "weights\\a", "x\ny", "Z", "config.json/x"]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in inner:
        yield (*path, name)
        yield from _paths(below, (*path, name))


def _mutated(document: Any, chance: random.Random) -> Any:
    """Return a copy with one to three values replaced, left out, repeated, swapped or turned by a bit."""
    changed = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_paths(changed))
        if not places:
            return changed
        *above, last = chance.choice(places)
        parent = changed
        for name in above:
            parent = parent[name]
        _change(parent, last, chance)
    return changed


def _change(parent: Any, last: Any, chance: random.Random) -> None:
    value = parent[last]
    match chance.randrange(8):
        case 0 | 1:
            parent[last] = chance.choice(VALUES)
        case 2:
            del parent[last]
        case 3 if isinstance(parent, list):
            parent.append(copy.deepcopy(chance.choice(parent)))
        case 4 if isinstance(parent, list):
            chance.shuffle(parent)
        case _ if isinstance(value, str) and value:
            at = chance.randrange(len(value))
            parent[last] = value[:at] + chance.choice("0a/.\\=é:\0 Z") + value[at + chance.randrange(2) :]
        case _ if isinstance(value, int | float) and not isinstance(value, bool):
            parent[last] = value + chance.choice((-1, 1, 0.5, 1 << 40))


def _garbled(raw: bytes, chance: random.Random) -> bytes:
    """Return bytes with some of them changed, cut out or repeated."""
    data = bytearray(raw)
    begin = chance.randrange(len(data))
    end = min(len(data), begin + chance.choice((1, 1, 4, 40)))
    match chance.randrange(4):
        case 0:
            data[begin] ^= 1 << chance.randrange(8)
        case 1:
            del data[begin:end]
        case 2:
            data[begin:begin] = data[begin:end]
        case _:
            del data[begin:]
    return bytes(data)


def _covers(found: Mapping[str, Any], files: Mapping[str, bytes]) -> bool:
    """Tell, with no code of ours, whether the digests that a statement lists are those of the files."""
    for path, one in found.items():
        data = files[path]
        ends = one.plan.ends or (len(data),)
        begins = (0, *ends[:-1])
        pieces = [data[begin:end] for begin, end in zip(begins, ends, strict=True)]
        if [HASHES[one.plan.algorithm](piece).hexdigest() for piece in pieces] != list(one.digests):
            return False
        if ends[-1] != len(data):
            return False
    return True


@pytest.fixture
def policy(tmp_path: Path) -> TrustPolicy:
    return trust(tmp_path / "trust")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "m", MODEL)


@pytest.mark.parametrize("form", FORMS)
def test_a_mutated_bundle_is_refused_or_says_what_was_signed(form: str, model: Path, policy: TrustPolicy) -> None:
    signed, chance, accepted = FORMS[form], random.Random(form), 0
    raw = bundle(signed)
    document = json.loads(raw)
    with Tree(model) as tree:
        for number in range(COUNT):
            mutated = json.dumps(_mutated(document, chance)).encode() if number % 2 else _garbled(raw, chance)
            try:
                found = requirement.require(tree, "hf://a/b", policy, now=NOW, given={"x": mutated})
            except EvidenceError:
                continue
            accepted += 1
            (evidence,) = found.evidence
            assert evidence.signature is not None
            assert evidence.signature.payload == signed
            assert evidence.covered == tuple(sorted(MODEL))
    assert accepted < COUNT // 2  # what is not signed may be anything: the hint of a key, a key id
    print(f"{accepted} of {COUNT} accepted, all with the signed payload")


@pytest.mark.parametrize("form", FORMS)
def test_a_payload_put_into_a_signed_bundle_is_refused(form: str, model: Path, policy: TrustPolicy) -> None:
    """The signature stays as it is, and the statement is one that would be taken if somebody had signed it."""
    chance, original = random.Random(form), json.loads(FORMS[form])
    document = json.loads(bundle(FORMS[form]))
    with Tree(model) as tree:
        for _ in range(COUNT):
            forged = json.dumps(_mutated(original, chance)).encode()
            document["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
            if forged == FORMS[form]:
                continue
            with pytest.raises(EvidenceError):
                requirement.require(tree, "hf://a/b", policy, now=NOW, given={"x": json.dumps(document).encode()})


@pytest.mark.parametrize("form", FORMS)
def test_a_mutated_statement_is_refused_or_covers_the_very_files(form: str, model: Path) -> None:
    """Even whoever can sign has to say what lies there: the digests of every file, and of no other."""
    chance, original, accepted = random.Random(form), json.loads(FORMS[form]), 0
    with Tree(model) as tree:
        for number in range(COUNT):
            changed = _mutated(original, chance)
            if number % 2:
                _mend_root(changed)
            mutated = json.dumps(changed).encode()
            try:
                evidence, _ = oms.verify(tree, signature(mutated), "x")
            except EvidenceError:
                continue
            accepted += 1
            assert evidence.covered == tuple(sorted(MODEL))
            assert _covers(oms.read(signature(mutated), "x").files, MODEL)
    print(f"{accepted} of {COUNT} accepted, all with the very files")


def _mend_root(document: Any) -> None:
    """Make the subject's digest right again, so that other checks are reached."""
    try:
        found = [bytes.fromhex(one["digest"]) for one in document["predicate"]["resources"]]
        document["subject"][0]["digest"]["sha256"] = HASHES["sha256"](b"".join(found)).hexdigest()
    except (KeyError, TypeError, IndexError, ValueError):
        return


@pytest.mark.parametrize("form", FORMS)
def test_a_mutated_folder_is_refused_or_has_the_very_files(form: str, tmp_path: Path, policy: TrustPolicy) -> None:
    chance, raw, accepted = random.Random(form), bundle(FORMS[form]), 0
    folder = write(tmp_path / "m", MODEL)
    for _ in range(COUNT):
        _change_folder(folder, chance)
        try:
            with Tree(folder, threads=1) as tree:
                requirement.require(tree, "hf://a/b", policy, now=NOW, given={"x": raw})
        except EvidenceError:
            changed = True
        else:
            changed, accepted = False, accepted + 1
            assert _contents(folder) == MODEL
        if changed or chance.randrange(10) == 0:
            shutil.rmtree(folder)
            write(folder, MODEL)
    print(f"{accepted} of {COUNT} accepted, all with the very files")


def _contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, a link as what it says."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def _change_folder(folder: Path, chance: random.Random) -> None:
    path = folder / chance.choice(list(MODEL))
    match chance.randrange(9):
        case 0:
            path.write_bytes(_garbled(path.read_bytes(), chance))
        case 1:
            path.unlink()
        case 2:
            path.rename(folder / chance.choice(("moved", "weights/moved", path.relative_to(folder).as_posix())))
        case 3:
            path.write_bytes(path.read_bytes())
        case 4:
            path.unlink()
            path.symlink_to(chance.choice(list(MODEL)))
        case 5:
            place = folder / chance.choice(ODD_NAMES)
            if not place.parent.is_file():
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(b"")
        case 6:
            (folder / "empty").mkdir(exist_ok=True)
        case 7:
            (folder / "link").symlink_to(chance.choice(("weights", "nothing", "..", "/")))
        case _:
            other, kept = folder / chance.choice(list(MODEL)), path.read_bytes()
            path.write_bytes(other.read_bytes())
            other.write_bytes(kept)


def test_a_signature_by_another_key_is_never_taken(model: Path, policy: TrustPolicy) -> None:
    with Tree(model) as tree:
        for form in FORMS.values():
            raw = bundle(form, key(number=1))
            with pytest.raises(EvidenceError):
                requirement.require(tree, "hf://a/b", policy, now=NOW, given={"x": raw})


def test_a_source_error_is_for_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError), Tree(tmp_path / "nowhere"):
        pass
