"""Names: one spelling for every alias, and every door that a dotted name opens."""

from __future__ import annotations

import pytest

from weighbridge.names import normalise, reachable


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        (("posix", "system"), "os.system"),
        (("nt", "system"), "os.system"),
        (("__builtin__", "eval"), "builtins.eval"),
        (("__builtins__", "eval"), "builtins.eval"),
        (("__builtin__", "xrange"), "builtins.range"),
        (("_io", "open"), "io.open"),
        (("_pickle", "loads"), "pickle.loads"),
        (("cPickle", "loads"), "pickle.loads"),
        (("copy_reg", "_reconstructor"), "copyreg._reconstructor"),
        (("_operator", "attrgetter"), "operator.attrgetter"),
        (("pathlib._local", "PosixPath"), "pathlib.PosixPath"),
        (("numpy.core.multiarray", "_reconstruct"), "numpy._core.multiarray._reconstruct"),
        (("urllib", "urlopen"), "urllib.request.urlopen"),
        (("_codecs", "encode"), "_codecs.encode"),
        (("commands", "getoutput"), "subprocess.getoutput"),
        (("torch", "FloatStorage"), "torch.FloatStorage"),
    ],
)
def test_aliases_come_to_one_spelling(spelled: tuple[str, str], normal: str) -> None:
    assert ".".join(normalise(*spelled)) == normal
    module, _, name = normal.rpartition(".")
    assert ".".join(normalise(module, name)) == normal


@pytest.mark.parametrize(
    ("module", "name", "reaches"),
    [
        ("shutil", "os.system", "os.system"),
        ("random", "_os.system", "os.system"),
        ("torch", "serialization.os.system", "os.system"),
        ("builtins", "eval.__call__", "builtins.eval"),
        ("collections", "_sys.modules.get", "sys.modules"),
        ("numpy._core.numeric", "builtins.eval", "builtins.eval"),
        ("a.b", "c", "a.b.c"),
    ],
)
def test_a_dotted_name_reaches_what_it_walks_through(module: str, name: str, reaches: str) -> None:
    assert reaches in reachable(module, name)


def test_a_name_of_a_thousand_parts_costs_little() -> None:
    assert len(reachable("m", ".".join("x" * 1000))) < 10_000
