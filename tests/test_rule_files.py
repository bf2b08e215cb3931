"""The rules that ship: each proves itself on its examples, and together they name what is known to be dangerous."""

from __future__ import annotations

import ast
import csv
import re
from functools import cache
from pathlib import Path

import pytest

from weighbridge import formats
from weighbridge.desk import Desk
from weighbridge.facts import REVIEWED, Fact
from weighbridge.judgement import Judgement, prove
from weighbridge.limits import Limits
from weighbridge.nameindex import is_glob
from weighbridge.names import normalise
from weighbridge.pipeline import look
from weighbridge.rules import Rule, RuleSet, Severity, rules_directory
from weighbridge.trust import Trust

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
RULES = RuleSet.load(rules_directory())
DESK = Desk(rules=RULES, trust=Trust(rules_directory() / "trust"), limits=Limits(), digest=False)
GADGETS = list(csv.DictReader((ROOT / "benchmarks" / "corpus" / "gadgets.csv").read_text("utf-8").splitlines()))
NAMED = sorted({(row["module"], row["name"]) for row in GADGETS if row["name"] != "*"})
WHOLE = sorted({row["module"] for row in GADGETS if row["name"] == "*"})
EVENTS = {"import", "call", "state", "items", "key", "persistent-id", "computed-name", "extension"}

# Modules of which ordinary models use some names too: the rules list the dangerous members one by one.
LISTED = set(
    "builtins copyreg uuid pathlib operator functools types joblib inspect itertools tempfile hashlib urllib logging "
    "pkgutil code test numpy torch".split()
)
# Names that ordinary models import; a rule that named one would make them fail instead of pass or ask for review.
ORDINARY = """
collections.OrderedDict collections.Counter collections.deque datetime.datetime datetime.timedelta decimal.Decimal
uuid.UUID pathlib.PosixPath pathlib.PurePosixPath fractions.Fraction types.SimpleNamespace argparse.Namespace
re._compile array._array_reconstructor builtins.object builtins.list builtins.dict builtins.set builtins.bool
builtins.int builtins.float builtins.str builtins.bytes builtins.complex builtins.slice builtins.tuple
numpy.ndarray numpy.dtype numpy.float64 numpy._core.multiarray._reconstruct numpy._core.multiarray.scalar
numpy._core.numeric._frombuffer numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__bit_generator_ctor
numpy.random._mt19937.MT19937 numpy.ma.core._mareconstruct numpy.exp numpy.mean numpy.zeros
torch.FloatStorage torch.Size torch.float32 torch.device torch._utils._rebuild_tensor_v2
torch._utils._rebuild_parameter torch.nn.modules.linear.Linear torch.nn.modules.container.Sequential
torch.nn.parameter.Parameter torch.optim.adam.Adam torch.utils.data.dataset.TensorDataset torch.Tensor
torch.backends.cudnn.rnn.Unserializable torch.serialization._get_layout torch.distributed.checkpoint.metadata.Metadata
sklearn.linear_model._logistic.LogisticRegression sklearn.pipeline.Pipeline sklearn.tree._tree.Tree
sklearn.ensemble._forest.RandomForestClassifier sklearn.utils._bunch.Bunch sklearn.metrics._scorer._PredictScorer
scipy.sparse._csr.csr_matrix pandas.core.frame.DataFrame pandas._libs.internals._unpickle_block
pandas.core.indexes.base._new_Index xgboost.core.Booster xgboost.sklearn.XGBClassifier lightgbm.basic.Booster
lightgbm.sklearn.LGBMClassifier catboost.core.CatBoostClassifier
transformers.training_args.TrainingArguments transformers.trainer_utils.IntervalStrategy
transformers.utils.generic.PaddingStrategy accelerate.state.PartialState ultralytics.nn.tasks.DetectionModel
models.yolo.Model __main__.Net lab.code.Layer trace_models.Net
""".split()


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_every_known_gadget_is_named_by_a_rule(module: str, name: str) -> None:
    normal = normalise(module, name)
    assert RULES.named(*normal) or RULES.about("call", ".".join(normal))


@pytest.mark.parametrize("module", WHOLE)
def test_every_known_dangerous_module_is_named_by_a_rule(module: str) -> None:
    normal = normalise(module, "anything")[0]
    if normal in LISTED:
        listed = {module for rule in RULES.rules for module in rule.match.names}
        assert any(f"{one}.".startswith(f"{normal}.") for one in listed)
    else:
        assert RULES.named(normal, "anything")


@pytest.mark.parametrize("dotted", ORDINARY)
def test_no_rule_names_what_ordinary_models_import(dotted: str) -> None:
    module, _, name = dotted.rpartition(".")
    assert RULES.named(module, name) is None
    assert RULES.about("import", dotted) is None


@cache
def examine(fixture: str) -> Judgement:
    return look(str(FIXTURES / fixture), DESK)


@pytest.mark.parametrize("rule", [rule for rule in RULES.rules if not rule.retired], ids=lambda rule: rule.id)
def test_a_rule_proves_itself_on_its_examples(rule: Rule) -> None:
    assert not list(prove(rule, examine))


def test_no_rule_lets_code_that_nobody_reviewed_pass() -> None:
    """A finding below the default policy's severity does not fail, so nothing that runs may rank below it."""
    for rule in RULES.rules:
        if rule.match.names or EVENTS & rule.match.facts.keys():
            assert rule.severity.rank >= Severity.HIGH.rank, rule.id


def test_names_are_written_in_the_normal_spelling() -> None:
    for rule in RULES.rules:
        for module, names in rule.match.names.items():
            for name in names if module != "*" else ():
                plain = "anything" if is_glob(name) else name
                normal = normalise(module, plain)
                # `dbm` was renamed to one of its own parts: the whole package still covers that.
                assert normal[1] == plain, (rule.id, module, name)
                assert normal[0] == module or name == "*", (rule.id, module, name)
                assert f"{normal[0]}.".startswith(f"{module}."), (rule.id, module, name)


def test_no_name_is_in_two_rules() -> None:
    owners: dict[tuple[str, str], str] = {}
    for rule in RULES.rules:
        for module, names in rule.match.names.items():
            for name in names:
                assert owners.setdefault((module, name), rule.id) == rule.id, (module, name)


def test_every_kind_that_a_rule_matches_exists() -> None:
    kinds = {kind for rule in RULES.rules for kind in rule.match.facts}
    assert kinds <= REVIEWED | {kind.kind for kind in Fact.__subclasses__()}


CODE = re.compile(
    r"(pickle|joblib|torch|zip|tar|gzip|bz2|xz|lzma|lz4|zstd|zlib|zfile|sevenzip|numpy|npy|npz|safetensors|gguf|onnx|ort"
    r"|external|link|name|polyglot|json|yaml|config|image)(-[a-z0-9{}]+)+|polyglot"
)


def anomaly_codes() -> set[str]:
    """Return every text of the parsers that looks like a code; the computed parts of one stand as `{}`."""
    package = ROOT / "scanner" / "weighbridge"
    codes = {f"{kind}-{what}" for kind in ("gzip", "xz", "lz4", "zstd") for what in ("trailing", "skippable")}
    for path in [
        *(package / "formats").rglob("*.py"),
        package / "pipeline.py",
        package / "desk.py",
        package / "walk.py",
        package / "companions.py",
    ]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                text: object = "".join(map(str, parts))
            else:
                text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and CODE.fullmatch(text):
                codes.add(text)
    return codes - {format_.name for format_ in formats.FORMATS} - {"torch-legacy", "torch-zip"}


@pytest.mark.parametrize("code", sorted(anomaly_codes()))
def test_every_anomaly_that_a_parser_reports_is_named_by_a_rule(code: str) -> None:
    assert RULES.about("anomaly", code), f"no rule names {code}"


@pytest.mark.parametrize("kind", ["elf", "pe", "macho", "wasm", "python-bytecode", "script", "python", "torchscript"])
def test_every_kind_of_program_is_named_by_a_rule(kind: str) -> None:
    assert RULES.about("native", kind)
