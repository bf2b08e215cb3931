"""TorchScript source: read for the operators that it reaches, in whatever way it spells them."""

from __future__ import annotations

import pytest
from examining import facts_of
from hypothesis import given
from hypothesis import strategies as st

from fixtures.carriers import _script
from weighbridge.facts import Gap, Native
from weighbridge.formats.torchscript import mobile, observe
from weighbridge.location import Location

HERE = Location(("m.pt", "m/code/__torch__.py"))
HEAD = "class M(Module):\n  __parameters__ = []\n  def __setstate__(self: __torch__.M, s: Tensor) -> NoneType:\n    "


def said(body: str) -> tuple[list[str], list[str]]:
    """Return what reaches files, and what is not understood, of a method with this body."""
    facts = list(observe((HEAD + body).encode(), HERE, "m/code/__torch__.py"))
    reach = [fact.detail for fact in facts if isinstance(fact, Native) and fact.type == "torchscript-file"]
    return reach, [fact.reason for fact in facts if isinstance(fact, Gap)]


@pytest.mark.parametrize(
    "body",
    [
        'torch.save(s, "/x")',
        'torch . save (s, "/x")',
        'torch.\\\n  save(s, "/x")',
        '(torch. # a comment\n  save)(s, "/x")',
        'f = torch.save\n    f(s, "/x")',
        '(s).save("/x")',
        's.save("/x")',
        'f = (s).save\n    f("/x")',
        'x = torch.from_file("/x", True, 10)',
        'x = ("/x").from_file(True, 10)',
        'ops.aten.save(s, "/x")',
        'ops.aten.from_file("/x", True, 10)',
        'x = "a\\"b"; torch.save(s, "/x")',
        "x = '''a\n\"'''; torch.save(s, '/x')",
        '"#"; torch.save(s, "/x")',
        "r'a'.from_file(True, 1)",
    ],
)
def test_operators_that_reach_files_are_told_however_they_are_spelled(body: str) -> None:
    assert said(body)[0]


@pytest.mark.parametrize(
    "body",
    [
        'a = torch\n    a.save(s, "/x")',
        'a = ops.aten\n    a.save(s, "/x")',
        "a = ops\n    return a.aten",
        'getattr(torch, "save")(s, "/x")',
        'x = ops.image.read_file("/x")',
        'ops.torchaudio.sox_io_save_audio_file("/x", s)',
        "ops.mine.run(s)",
        "x : __torch__.torch.classes.dist_c10d.FileStore",
        "c = __torch__.torch.classes\n    c.dist_c10d",
        'x = "a text that does not end',
    ],
)
def test_what_could_hide_an_operator_or_is_not_torchs_own_is_a_gap(body: str) -> None:
    assert said(body)[1]


@pytest.mark.parametrize(
    "body",
    [
        'x = torch.add(s, ops.prim.dtype(s))\n    print("torch.save", x)  # torch.save',
        "y = __torch__.torch.nn.functional.relu(s, False, )",
        "p : __torch__.torch.classes.quantized.LinearPackedParamsBase",
        "Y = ops.quantized.linear_dynamic(s, self._packed_params)\n    self.saved = s.save_count",
        'ops.prim.RaiseException(torch.format("{} from_file", s), "builtins.ValueError")',
        "def save(self, x: Tensor) -> Tensor:\n      return torch.wait(fork(x))",
        "boxes = ops.torchvision.nms(s, s, 0.5)",
    ],
)
def test_source_that_only_computes_is_no_more_than_torchscript(body: str) -> None:
    assert said(body) == ([], [])


def test_an_archive_with_such_source_is_told_where_it_lies() -> None:
    code = b'class M:\n  def __setstate__(self, s):\n    torch.save(s, "/nonexistent/weighbridge")\n'
    native = [fact for fact in facts_of(_script(code)) if isinstance(fact, Native)]
    assert [fact.type for fact in native] == ["torchscript", "torchscript-file"]
    assert native[1].location.path == ("file", "archive/code/__torch__.py")
    assert native[1].location.offset == code.index(b"torch.save")


def test_byte_code_of_a_mobile_module_is_read_for_its_operators() -> None:
    assert list(mobile(b"X\x09\0\0\0aten::addq\x01", HERE)) == []
    assert [type(fact) for fact in mobile(b"aten::save\x00aten::from_file", HERE)] == [Native, Native]
    assert [type(fact) for fact in mobile(b"mine::run", HERE)] == [Gap]


@given(st.text(max_size=40) | st.text(alphabet="torch.save(\"'\\\n# ops)", max_size=40))
def test_any_source_is_read_to_its_end(source: str) -> None:
    facts = list(observe(source.encode("utf-8", "replace"), HERE, "m/code/x.py"))
    assert isinstance(facts[0], Native)
