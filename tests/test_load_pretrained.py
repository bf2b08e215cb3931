"""The helpers for transformers and diffusers, against the real libraries: the same numbers, and no file opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from approving import approved
from loading import approved_folder

from weighbridge.errors import UsageError
from weighbridge.load.folder import Folder
from weighbridge.load.opening import Anchor
from weighbridge.load.pretrained import Model, known
from weighbridge.load.transformers import check_options
from weighbridge.refusals import ApprovalMismatch, DigestMismatch, RemoteCode, UnsupportedFormat


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def approve_all(saved: Path, folder: Path) -> Path:
    """Approve what a library saved."""
    files = {path.relative_to(saved).as_posix(): path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    approved_folder(folder, files)
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> tuple[Path, Any]:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=32, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.generation_config.max_length = 17
    model.save_pretrained(tmp_path / "saved", max_shard_size="10KB")
    tokenizer = pytest.importorskip("tokenizers").Tokenizer(
        pytest.importorskip("tokenizers").models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]")
    )
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(
        tmp_path / "saved"
    )
    return approve_all(tmp_path / "saved", tmp_path / "model"), model


def test_a_model_of_transformers_gives_the_same_numbers(llama: tuple[Path, Any]) -> None:
    import torch
    import transformers

    from weighbridge.load.transformers import load_model

    folder, model = llama
    ids = torch.arange(8)[None]
    for cls in (None, transformers.LlamaForCausalLM, transformers.AutoModelForCausalLM):
        loaded = load_model(folder, cls=cls)
        assert type(loaded) is transformers.LlamaForCausalLM
        assert not loaded.training
        assert torch.equal(loaded(ids).logits, model(ids).logits)
        assert loaded.generation_config.max_length == 17
    half = load_model(folder, dtype=torch.float16)
    assert half.dtype is torch.float16
    with pytest.raises(UnsupportedFormat, match="has no model for"):
        load_model(folder, cls=transformers.AutoModelForSpeechSeq2Seq)


def test_weights_and_configuration_are_of_one_approval(llama: tuple[Path, Any], tmp_path: Path) -> None:
    from weighbridge.load.pretrained import opened

    folder, _ = llama
    with opened(folder, None) as model:
        folder.rename(tmp_path / "away")
        approved_folder(folder, {"model.safetensors": next((tmp_path / "away").glob("*.safetensors")).read_bytes()})
        with pytest.raises(ApprovalMismatch):
            model.weights(folder, None)


def test_a_tokenizer_of_transformers(llama: tuple[Path, Any]) -> None:
    from weighbridge.load.transformers import load_tokenizer

    assert load_tokenizer(llama[0])("a")["input_ids"] == [0]


def test_changed_weights_and_configurations_are_refused(llama: tuple[Path, Any]) -> None:
    from weighbridge.load.transformers import load_model

    folder, _ = llama
    shard = next(folder.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DigestMismatch):
        load_model(folder)
    data[-1] ^= 1
    shard.write_bytes(data)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_size": 16', '"hidden_size": 61'))
    with pytest.raises(DigestMismatch):
        load_model(folder)


def test_a_model_of_diffusers_gives_the_same_numbers(tmp_path: Path) -> None:
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    from weighbridge.load.diffusers import load_model, load_pipeline

    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()  # fmt: skip
    pipeline = diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler(num_train_timesteps=4))
    pipeline.save_pretrained(tmp_path / "saved")
    folder = approve_all(tmp_path / "saved", tmp_path / "model")
    noise = torch.randn(1, 1, 8, 8)
    loaded = load_model(folder / "unet")
    assert torch.equal(loaded(noise, 1).sample, unet(noise, 1).sample)
    assert load_model(folder / "unet", dtype=torch.float16).dtype is torch.float16
    again = load_pipeline(folder)
    assert type(again) is diffusers.DDPMPipeline
    images = [
        one(generator=torch.Generator().manual_seed(1), num_inference_steps=2, output_type="np").images
        for one in (pipeline, again)
    ]
    assert (images[0] == images[1]).all()
    with pytest.raises(UnsupportedFormat, match="the weights are not those of"):
        load_model(folder / "unet", cls=diffusers.UNet2DConditionModel)


def test_a_pipeline_with_a_model_of_transformers(tmp_path: Path) -> None:
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    from weighbridge.load.diffusers import load_pipeline

    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8, attention_head_dim=4,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, layers_per_block=1)
    vocabulary = tmp_path / "vocabulary"
    vocabulary.mkdir()
    (vocabulary / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3}))
    (vocabulary / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(vocabulary / "vocab.json"), str(vocabulary / "merges.txt"), model_max_length=8
    )
    saved = diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=transformers.CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=diffusers.DDIMScheduler(num_train_timesteps=4, steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    saved.save_pretrained(tmp_path / "saved")
    folder = approve_all(tmp_path / "saved", tmp_path / "model")
    loaded = load_pipeline(folder)
    wanted = {name: one.state_dict() for name, one in saved.components.items() if hasattr(one, "state_dict")}
    assert wanted.keys() == {"vae", "text_encoder", "unet"}
    for name, state in wanted.items():
        found = getattr(loaded, name).state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], one) for key, one in state.items())
    assert loaded.tokenizer("a")["input_ids"] == saved.tokenizer("a")["input_ids"]


def test_options_that_lead_elsewhere_are_refused() -> None:
    with pytest.raises(RemoteCode):
        check_options({"trust_remote_code": True})
    with pytest.raises(UsageError, match="revision"):
        check_options({"revision": "main"})
    check_options({"trust_remote_code": False, "dtype": "auto"})


def test_a_class_that_a_file_names_is_one_of_the_library() -> None:
    import collections

    assert known(collections, "OrderedDict", dict, "here") is collections.OrderedDict
    for name in ("abc", "namedtuple", "none", 7, None, "deque"):
        with pytest.raises(UnsupportedFormat, match="has no"):
            known(collections, name, dict, "here")


def test_documents_are_verified_and_objects(tmp_path: Path) -> None:
    files = {"config.json": b'{"a": 1}', "sub/list.json": b"[1]", "sub/wrong.json": b"{", "w.bin": b"x"}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with Folder(Anchor(tmp_path), approved(files, formats={"w.bin": "pickle"})) as folder:
        model = Model(folder, "")
        assert model.document("config.json") == {"a": 1}
        assert (model.has("config.json"), model.has("other.json")) == (True, False)
        for name in ("list.json", "wrong.json"):
            with pytest.raises(UnsupportedFormat):
                model.part("sub").document(name)
        with model.small_files() as place:
            assert [path.name for path in place.iterdir()] == ["config.json"]
        (tmp_path / "config.json").write_bytes(b'{"a": 2}')
        with pytest.raises(DigestMismatch):
            model.document("config.json")
