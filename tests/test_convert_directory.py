"""Folders: shards and their index, the files around them, what is left out, and that nothing appears by halves."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from checkpoints import Shapes, checkpoint, tensor, write_shards
from safetensors_files import tensor_file

from fixtures.assemble import P0, P2
from weighbridge.convert.directory import FolderConversion, convert_folder
from weighbridge.convert.directory_proof import verify_folder
from weighbridge.convert.references import rewrite
from weighbridge.convert.shards import index_target, target_name
from weighbridge.errors import ArtifactError, MismatchError, SourceError, UnconvertibleError, UsageError

SHARDS: dict[str, Shapes] = {
    "pytorch_model-00001-of-00002.bin": {"a.weight": (3, 4), "a.bias": (4,)},
    "pytorch_model-00002-of-00002.bin": {"b.weight": (4, 2)},
}


def nobody(_place: Path, _paths: list[str]) -> Mapping[str, str]:
    """Let everything stay."""
    return {}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder to put a model into."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def convert(source: Path, **options: Any) -> FolderConversion:
    """Convert a folder into its neighbour, and verify it."""
    destination = source.parent / "out"
    made = convert_folder(source, destination, **{"judge": nobody, **options})
    assert verify_folder(source, destination) == len(made.conversions)
    return made


def listed(folder: Path) -> list[str]:
    """Return the files below a folder but for the records."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.endswith("conversion.json"))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("pytorch_model.bin", "model.safetensors"),
        ("pytorch_model.fp16.bin", "model.fp16.safetensors"),
        ("pytorch_model-00003-of-00009.bin", "model-00003-of-00009.safetensors"),
        ("pytorch_model.fp16-00001-of-00002.bin", "model.fp16-00001-of-00002.safetensors"),
        ("pytorch_models.bin", "pytorch_models.safetensors"),
        ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
        ("open_clip_pytorch_model.bin", "open_clip_model.safetensors"),
        ("adapter_model.bin", "adapter_model.safetensors"),
        ("model.safetensors", "model.safetensors"),
        ("consolidated.00.pth", "consolidated.00.safetensors"),
        ("weights", "weights.safetensors"),
        ("v1.5", "v1.5.safetensors"),
    ],
)
def test_weights_get_the_names_that_loaders_look_for(name: str, wanted: str) -> None:
    assert target_name(name) == wanted
    assert index_target(f"{name}.index.json") == f"{wanted}.index.json"


def test_shards_stay_shards_and_their_index_names_the_new_files(source: Path) -> None:
    write_shards(source, SHARDS, total_parameters=24)
    convert(source)
    out = source.parent / "out"
    assert listed(out) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 96, "total_parameters": 24}
    assert index["weight_map"] == {
        "a.weight": "model-00001-of-00002.safetensors",
        "a.bias": "model-00001-of-00002.safetensors",
        "b.weight": "model-00002-of-00002.safetensors",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"c.weight": "pytorch_model-00001-of-00002.bin"}, "the index has c.weight in .*, and the files have not"),
        ({"a.bias": None}, "the files have a.bias in .*, and the index has not"),
        ({"a.bias": "pytorch_model-00002-of-00002.bin"}, "the index has a.bias in pytorch_model-00002"),
        ({"a.bias": "pytorch_model-00009-of-00002.bin"}, "which is not a file of weights beside it"),
        ({"a.bias": "config.json"}, "which is not a file of weights beside it"),
        ({"a.bias": "../source/pytorch_model-00001-of-00002.bin"}, "which is no file beside it"),
        ({"a.bias": "/etc/passwd"}, "which is no file beside it"),
        ({"a.bias": "a\\b"}, "which is no file beside it"),
        ({"a.bias": ".."}, "which is no file beside it"),
        ({"a.bias": 7}, "without a map"),
    ],
)
def test_an_index_that_disagrees_with_its_files_is_refused(
    source: Path, change: dict[str, object], reason: str
) -> None:
    write_shards(source, SHARDS)
    (source / "config.json").write_text("{}")
    place = source / "pytorch_model.bin.index.json"
    index = json.loads(place.read_text())
    index["weight_map"] = {name: file for name, file in {**index["weight_map"], **change}.items() if file is not None}
    place.write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match=reason):
        convert(source)
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_an_index_with_a_key_twice_is_refused(source: Path) -> None:
    write_shards(source, SHARDS)
    place = source / "pytorch_model.bin.index.json"
    place.write_text(place.read_text().replace('"a.bias"', '"a.weight"'))
    with pytest.raises(ArtifactError, match="a key twice"):
        convert(source)


def test_other_files_come_along_and_speak_of_the_new_names(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    config = {"model_type": "bert", "transformers_weights": "pytorch_model.bin", "layers": [1e-05, {"x": "y"}]}
    (source / "config.json").write_text(json.dumps(config))
    (source / "vocab.txt").write_text("a\nb\n")
    (source / "unet").mkdir()
    (source / "unet" / "diffusion_pytorch_model.bin").write_bytes(checkpoint({"u": (3,)}))
    (source / "unet" / "config.json").write_text('{"up": "../pytorch_model.bin"}')
    made = convert(source)
    out = source.parent / "out"
    assert listed(out) == [
        "config.json", "model.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vocab.txt",
    ]  # fmt: skip
    assert json.loads((out / "config.json").read_text()) == {**config, "transformers_weights": "model.safetensors"}
    assert (out / "unet" / "config.json").read_text() == '{"up": "../pytorch_model.bin"}'
    assert [(one.path, one.key, one.old, one.new) for one in made.rewritten] == [
        ("config.json", "transformers_weights", "pytorch_model.bin", "model.safetensors")
    ]
    record = json.loads((out / "conversion.json").read_text())
    assert record["weights"]["model.safetensors"]["source"] == "pytorch_model.bin"
    assert record["copied"] == ["config.json", "unet/config.json", "vocab.txt"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"a": ["pytorch_model.bin"]}', {"a": ["model.safetensors"]}),
        ('{"a": "./pytorch_model.bin"}', {"a": "./model.safetensors"}),
        ('{"é": "pytorch_model.bin", "b": "\\ud800"}', {"é": "model.safetensors", "b": "\ud800"}),
        ('{"pytorch_model.bin": 1}', None),
        ('{"a": "my pytorch_model.bin"}', None),
        ('{"a": "pytorch_model.bin", "a": 1}', None),
        ("pytorch_model.bin", None),
    ],
)
def test_only_values_that_are_the_path_of_renamed_weights_change(text: str, wanted: object) -> None:
    data, done = rewrite("config.json", text.encode(), {"pytorch_model.bin": "model.safetensors"})
    if wanted is None:
        assert (data, done) == (text.encode(), [])
    else:
        assert json.loads(data) == wanted
        assert len(done) == 1


def test_pickles_and_what_the_judge_refuses_are_left_out_and_listed(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    (source / "tokenizer.pkl").write_bytes(P2.stream({"a": 1}))
    (source / "older.pkl").write_bytes(P0.stream({"a": 1}))
    (source / "modeling_x.py").write_text("import os\n")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("x")
    optimizer = checkpoint({"0": (1,)}, beside={"param_groups": []}, under="state")
    (source / "optimizer.pt").write_bytes(optimizer)
    seen: list[str] = []

    def judge(place: Path, paths: list[str]) -> Mapping[str, str]:
        assert all((place / path).is_file() for path in paths)
        seen.extend(paths)
        return {"modeling_x.py": "fail: NAT002"}

    made = convert(source, judge=judge)
    assert sorted(seen) == ["model.safetensors", "modeling_x.py"]
    assert listed(source.parent / "out") == ["model.safetensors"]
    assert made.left_out["modeling_x.py"] == "fail: NAT002"
    assert made.left_out["tokenizer.pkl"] == "there are no tensors in it"
    assert made.left_out["older.pkl"] == "pickle without weights, which may hold programs"
    assert made.left_out[".git/"] == "a hidden folder"
    assert "optimizer" in made.left_out["optimizer.pt"]
    record = json.loads((source.parent / "out" / "conversion.json").read_text())
    assert record["left_out"] == made.left_out


def test_a_converted_file_that_may_not_stay_stops_the_conversion(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    with pytest.raises(UnconvertibleError, match="may not stay: because"):
        convert(source, judge=lambda _place, _paths: {"model.safetensors": "because"})
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_weights_that_loaders_look_for_have_to_be_converted_and_what_lies_beside_them_need_not(source: Path) -> None:
    groups = checkpoint({"w": (2,)}, beside={"ema": {"w": tensor("0", (2,))}})
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    (source / "extra.pt").write_bytes(groups)
    made = convert(source)
    assert "several groups" in made.left_out["extra.pt"]
    (source / "pytorch_model.bin").write_bytes(groups)
    with pytest.raises(UnconvertibleError, match="several groups"):
        convert_folder(source, source.parent / "second", judge=nobody)
    chosen = convert_folder(source, source.parent / "second", judge=nobody, state_dict="ema")
    assert chosen.conversions["model.safetensors"].state_dict == "ema"
    assert verify_folder(source, source.parent / "second") == 1
    with pytest.raises(MismatchError):
        verify_folder(source, source.parent / "second", state_dict=".")


def test_ties_are_written_once_only_where_the_configuration_ties_the_embeddings(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"wte.weight": (5, 2)}, {"lm_head.weight": "wte.weight"}))
    (source / "config.json").write_text('{"tie_word_embeddings": true, "vocab_size": 5}')
    (made,) = convert(source).conversions.values()
    assert [tensor.name for tensor in made.tensors] == ["wte.weight"]
    assert made.aliases == {"lm_head.weight": "wte.weight"}


@pytest.mark.parametrize(
    "config",
    ['{"tie_word_embeddings": false, "vocab_size": 5}', '{"tie_word_embeddings": true, "vocab_size": 4}', "{}", "no"],
)
def test_other_ties_are_written_twice(source: Path, config: str) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"wte.weight": (5, 2)}, {"lm_head.weight": "wte.weight"}))
    (source / "config.json").write_text(config)
    (made,) = convert(source).conversions.values()
    assert len(made.tensors) == 2


def test_weights_that_are_there_as_safetensors_are_not_converted_again(source: Path) -> None:
    write_shards(source, SHARDS)
    (source / "adapter_model.bin").write_bytes(checkpoint({"w": (2,)}))
    (source / "adapter_model.safetensors").write_bytes(tensor_file({"w": b"abcd"}))
    (source / "model.safetensors.index.json").write_text('{"weight_map": {"t": "model-1.safetensors"}}')
    (source / "model-1.safetensors").write_bytes(tensor_file({"t": b"abcd"}))
    made = convert(source)
    assert sorted(made.conversions) == ["adapter_model.safetensors", "model-1.safetensors"]
    assert made.left_out["adapter_model.bin"] == "adapter_model.safetensors is in the folder already"
    assert made.left_out["pytorch_model-00001-of-00002.bin"] == "model.safetensors.index.json is in the folder already"


def test_two_files_that_would_get_one_name_are_refused(source: Path) -> None:
    (source / "a.bin").write_bytes(checkpoint({"w": (2,)}))
    (source / "a.pt").write_bytes(checkpoint({"w": (2,)}))
    with pytest.raises(UnconvertibleError, match=r"a\.pt and a\.bin would both become a\.safetensors"):
        convert(source)


def test_a_folder_without_weights_is_refused_with_what_was_left_out(source: Path) -> None:
    (source / "config.json").write_text("{}")
    (source / "x.pkl").write_bytes(P2.stream({"a": 1}))
    with pytest.raises(UnconvertibleError, match=r"no weights are in the folder .*x\.pkl"):
        convert(source)


def test_the_source_is_never_written_to_and_the_destination_has_to_be_new(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    for destination in (source, source / "out"):
        with pytest.raises(UsageError, match="never written to"):
            convert_folder(source, destination, judge=nobody)
    with pytest.raises(UsageError, match="no such folder"):
        convert_folder(source, source.parent / "no" / "out", judge=nobody)
    convert(source)
    with pytest.raises(UsageError, match="exists; name a folder"):
        convert_folder(source, source.parent / "out", judge=nobody)


def test_links_out_of_the_folder_are_refused_and_those_inside_followed(source: Path) -> None:
    (source / "blob").write_bytes(checkpoint({"w": (2,)}))
    (source / "pytorch_model.bin").symlink_to("blob")
    made = convert(source)
    assert "model.safetensors" in made.conversions
    (source / "config.json").symlink_to("/etc/hostname")
    with pytest.raises(SourceError, match="a link out of the folder"):
        convert_folder(source, source.parent / "second", judge=nobody)


@pytest.mark.parametrize("target", ["config.json", "model.safetensors", "model.safetensors.index.json", "new.txt"])
def test_verify_finds_what_was_changed_afterwards(source: Path, target: str) -> None:
    write_shards(source, {"pytorch_model-1.bin": {"a": (3,)}})
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    (source / "config.json").write_text('{"x": 1}')
    convert(source)
    place = source.parent / "out" / target
    data = place.read_bytes() if place.exists() else b""
    place.write_bytes(data.replace(b"model-1", b"model-2") if b"model-1" in data else data[:-1] + b"!")
    with pytest.raises((MismatchError, ArtifactError)):
        verify_folder(source, source.parent / "out")
    place.unlink()
    if target != "new.txt" and target != "config.json":
        with pytest.raises(MismatchError, match="missing"):
            verify_folder(source, source.parent / "out")


def test_the_same_source_gives_the_same_bytes(source: Path) -> None:
    write_shards(source, SHARDS)
    (source / "config.json").write_text('{"b": 1, "a": "pytorch_model.bin"}')
    convert_folder(source, source.parent / "one", judge=nobody)
    convert_folder(source, source.parent / "two", judge=nobody)
    one, two = ({path.name: path.read_bytes() for path in (source.parent / name).iterdir()} for name in ("one", "two"))
    assert one == two


KILLED = """
import os, signal, sys
from pathlib import Path
from weighbridge.convert.directory import convert_folder
convert_folder(sys.argv[1], sys.argv[2], judge=lambda place, paths: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_leaves_nothing_at_the_destination_and_the_next_one_takes_its_rest_away(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    (source / "config.json").write_text("{}")
    arguments = [sys.executable, "-c", KILLED, str(source), str(source.parent / "out")]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in source.parent.iterdir()) == [".out.part", "source"]
    convert(source)
    assert sorted(path.name for path in source.parent.iterdir()) == ["out", "source"]


def test_two_runs_to_one_place_do_not_mix(source: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    place = source.parent / ".out.part"
    place.mkdir()
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(UsageError, match="another run"):
            convert(source)
    finally:
        os.close(descriptor)
    convert(source)


def test_an_interrupt_leaves_nothing(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))

    def interrupted(_place: Path, _paths: list[str]) -> Mapping[str, str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, judge=interrupted)
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_a_full_disk_leaves_nothing(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))

    def full(_place: Path, _paths: list[str]) -> Mapping[str, str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SourceError, match="No space left"):
        convert(source, judge=full)
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_documents_too_large_for_a_configuration_are_copied_as_they_are(source: Path) -> None:
    (source / "pytorch_model.bin").write_bytes(checkpoint({"w": (2,)}))
    text = json.dumps({"a": "pytorch_model.bin", "b": "x" * (4 << 20)})
    (source / "large.json").write_text(text)
    assert convert(source).rewritten == ()
    assert (source.parent / "out" / "large.json").read_text() == text


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "weighbridge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_converts_folders_and_brings_along_what_passes_the_policy(source: Path) -> None:
    write_shards(source, SHARDS)
    (source / "config.json").write_text(
        '{"model_type": "bert", "transformers_weights": "pytorch_model.bin.index.json"}'
    )
    (source / "modeling_x.py").write_text("import os\nos.system('id')\n")
    out = source.parent / "out"
    done = run("convert", source, out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "config.json: transformers_weights = model.safetensors.index.json" in done.stdout
    assert "modeling_x.py: fail" in done.stdout
    assert "config.json" in listed(out)
    assert "modeling_x.py" not in listed(out)
    verified = run("convert", "--verify", source, out)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert json.loads(run("convert", "--verify", source, out, "--format", "json").stdout)["weights"] == 2
    (out / "config.json").write_text("{}")
    assert run("convert", "--verify", source, out).returncode == 1
    assert run("convert", source, out).returncode == 2
    assert run("convert", source, source.parent / "other", "--overwrite").returncode == 2


def test_what_comes_out_passes_the_scan_with_its_records(source: Path) -> None:
    shapes: Shapes = {f"token_type_embeddings.{index}.weight": (index + 1,) for index in range(20)}
    (source / "pytorch_model.bin").write_bytes(checkpoint(shapes))
    (source / "config.json").write_text('{"model_type": "bert"}')
    made = convert(source)
    digests = [str(one) for one in made.conversions["model.safetensors"].digests.values()]
    assert any(digest[len("sha256:")].isalpha() for digest in digests)  # which a name to import would begin with
    assert run("scan", source.parent / "out").returncode == 0
