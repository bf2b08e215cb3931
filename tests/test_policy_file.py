"""Policy files, their layers, and where they may be read from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from weighbridge import formats, rule_files
from weighbridge.digest import Digest
from weighbridge.errors import DocumentError, UsageError
from weighbridge.pipeline import scan
from weighbridge.policy import Outcome, Policy, Response
from weighbridge.policy_file import KEYS, load_policy, read_layers, read_policy, settings, settle, shipped_policy
from weighbridge.rule_files import names, shipped_folder
from weighbridge.rules import Severity
from weighbridge.settings import VARIABLES, Asked, Chosen, choose, find, is_silent

TODAY = date(2026, 5, 1)
DIGEST = "sha256:" + "a" * 64
WAIVER = f"""
[[waivers]]
rule = "PKL001"
digest = "{DIGEST}"
reason = "r"
approver = "a"
expires = 2026-06-01
"""
WHOLE = f"""\
name = "ours"
profile = "strict"
fail_at = "medium"
max_waiver_days = 90

[require]
formats = ["safetensors", "json"]
sources = ["hf://acme/*"]
max_size = "1.5GB"
pinned = true
{WAIVER}"""
NOTHING = Asked()


def chosen(
    folder: Path,
    asked: Asked = NOTHING,
    scanned: tuple[str, ...] = (),
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Chosen:
    return choose(asked, environ=environ, folder=str(folder), today=TODAY, scanned=scanned)


def test_a_file_changes_the_profile_that_it_names_and_leaves_the_rest() -> None:
    policy = read_policy(WHOLE.encode(), "weighbridge.toml")
    assert (policy.name, policy.fail_at, policy.unknown, policy.gaps) == (
        "ours",
        Severity.MEDIUM,
        Response.FAIL,
        Response.FAIL,
    )
    assert policy.require.formats == ("safetensors", "json") and policy.require.max_size == 1_500_000_000
    assert policy.require.pinned and not policy.require.signature
    assert policy.max_waiver_days == 90 and len(policy.waivers) == 1


@pytest.mark.parametrize("name", names(f"{shipped_folder()}/policies"))
def test_the_shipped_policies_are_read_and_may_be_changed(name: str) -> None:
    shipped = shipped_policy(name)
    assert shipped.name == name
    changed = read_policy(f'profile = "{name}"\nfail_at = "low"\n'.encode(), "p.toml")
    assert (changed.fail_at, changed.gaps, changed.require) == (Severity.LOW, shipped.gaps, shipped.require)


def test_weights_of_another_container_fail_safetensors_only(tmp_path: Path) -> None:
    policy = shipped_policy("safetensors-only")
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04N.")
    verdict = scan([tmp_path], policy=policy)
    assert verdict.outcome is Outcome.FAIL and [one.code for one in verdict.unmet] == ["FORMAT"]
    assert scan([tmp_path]).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fail_at =", "fail_att =", "p.toml:3:1: fail_att: unknown key 'fail_att', did you mean 'fail_at'?"),
        ('"medium"', '"hgih"', "p.toml:3:1: fail_at: 'hgih' is not one of low, medium, high, critical"),
        ("pinned = true", "pined = true", "p.toml:10:1: require.pined: unknown key 'pined', did you mean 'pinned'?"),
        ("pinned = true", 'pinned = "yes"', "p.toml:10:1: require.pinned: 'yes' is not true or false"),
        ('"1.5GB"', '"much"', "p.toml:9:1: require.max_size: 'much' is not a number of bytes such as"),
        ('"1.5GB"', "0", "p.toml:6:1: require: 'max_size' is a number of bytes, at least 1"),
        ('"json"]', '"jsn"]', "p.toml:7:27: require.formats[1]: no format is named 'jsn', did you mean 'json'?"),
        ('["hf://acme/*"]', '["a", ["b"]]', "p.toml:8:17: require.sources[1]: expected text"),
        ('"strict"', '"strikt"', "p.toml:2:1: 'strikt' is not one of the shipped policies"),
        ("sources =", 'forbidden = ["json"]\nsources =', "p.toml:6:1: require: 'json' is both among"),
        ("= 90", "= 0", "p.toml: 'max_waiver_days' is a number of days"),
        ('rule = "PKL001"', 'rule = "gaps"', "p.toml:12:1: waivers[0]: 'gaps' is neither a rule id"),
        ('reason = "r"\n', "", "p.toml:12:1: waivers[0]: missing key 'reason'"),
        ('name = "ours"', "name = ours", "p.toml:1:8: Invalid value"),
        ("[require]", 'trust = ["ours.yaml"]\n[require]', "p.toml:6:10: ours.yaml: No such file"),
    ],
)
def test_a_wrong_file_is_refused_at_its_line_and_column(old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(DocumentError) as caught:
        read_policy(WHOLE.replace(old, new, 1).encode(), "p.toml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "size"),
    [("7", 7), ("7B", 7), ("2kB", 2000), ("2KiB", None), ("2kiB", 2048), ("50GB", 50 * 10**9), ("1.5 MiB", 3 << 19)],
)
def test_sizes(text: str, size: int | None) -> None:
    document = f"require: {{max_size: {text}}}\n".encode()
    if size is None:
        with pytest.raises(DocumentError):
            read_policy(document, "p.yaml")
    else:
        assert read_policy(document, "p.yaml").require.max_size == size


def test_the_digest_is_that_of_the_file_and_changes_with_everything_that_is_added(tmp_path: Path) -> None:
    path = tmp_path / "weighbridge.toml"
    path.write_text('fail_at = "low"\n')
    plain = load_policy(path)
    assert plain.digest == str(Digest.of(path.read_bytes()))
    digests = {plain.digest}
    for environ in ({"WEIGHBRIDGE_GAPS": "fail"}, {"WEIGHBRIDGE_GAPS": "inconclusive"}):
        digests.add(chosen(tmp_path, environ=environ).policy.digest)
    path.write_text('fail_at = "low"\ntrust = ["t.yaml"]\n')
    for reviewed in ("once", "twice"):
        (tmp_path / "t.yaml").write_text(TRUST.format(package="ours", reviewed=reviewed))
        digests.add(load_policy(path).digest)
    assert len(digests) == 5


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "weighbridge.toml").write_text(WHOLE)
    asked = Asked(settings=(("fail_at", "critical", "--fail-at"), ("require.sources", "a, b", "--set")))
    environ = {"WEIGHBRIDGE_FAIL_AT": "low", "WEIGHBRIDGE_REQUIRE_PINNED": "false"}
    environ |= {"WEIGHBRIDGE_REQUIRE_FORMATS": "gguf", "WEIGHBRIDGE_REQUIRE_SOURCES": ""}
    found = chosen(tmp_path, asked, environ=environ)
    assert found.policy.fail_at is Severity.CRITICAL and not found.policy.require.pinned
    assert found.policy.require.formats == ("gguf",) and found.policy.require.sources == ("a", "b")
    sources = {one.key: one.source for one in settings(found.layers)}
    assert list(sources) == list(KEYS)
    file = str(tmp_path / "weighbridge.toml")
    assert sources == {
        "fail_at": "--fail-at",
        "unknown": "the shipped policy strict",
        "gaps": "the shipped policy strict",
        "max_waiver_days": file,
        "require.formats": "WEIGHBRIDGE_REQUIRE_FORMATS",
        "require.forbidden": "",
        "require.sources": "--set",
        "require.licences": "",
        "require.max_size": file,
        "require.pinned": "WEIGHBRIDGE_REQUIRE_PINNED",
        "require.signature": "",
    }


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_a_variable_and_an_option(key: str, tmp_path: Path) -> None:
    texts = {"fail_at": "low", "unknown": "fail", "gaps": "fail", "max_waiver_days": "9"}
    texts |= {"require.max_size": "9", "require.pinned": "true", "require.signature": "true"}
    texts |= {"require.formats": "zip,onnx", "require.forbidden": "tar"}
    text = texts.get(key, "one,two")
    variable = next(name for name, known in VARIABLES.items() if known == key)
    by_variable = chosen(tmp_path, environ={variable: text}).policy
    by_option = chosen(tmp_path, Asked(settings=((key, text, "--set"),))).policy
    base = shipped_policy("default")
    assert by_variable == by_option and by_variable.digest != base.digest
    assert (by_variable.require, by_variable.fail_at, by_variable.unknown, by_variable.gaps) != (
        base.require,
        base.fail_at,
        base.unknown,
        base.gaps,
    ) or by_variable.max_waiver_days == 9


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WEIGHBRIDGE_FAIL_AT": "never"}, "WEIGHBRIDGE_FAIL_AT: 'never' is not one of low"),
        ({"WEIGHBRIDGE_REQUIRE_PINED": "1"}, "WEIGHBRIDGE_REQUIRE_PINED: there is no such setting, did you mean"),
        ({"WEIGHBRIDGE_REQUIRE_PINNED": "1"}, "WEIGHBRIDGE_REQUIRE_PINNED: '1' is not true or false"),
        ({"WEIGHBRIDGE_FAILAT": "low"}, "WEIGHBRIDGE_FAILAT: there is no such setting, did you mean 'WEIGHBRIDGE_FAIL"),
        ({"WEIGHBRIDGE_TRUTS": "x"}, "WEIGHBRIDGE_TRUTS: there is no such setting, did you mean 'WEIGHBRIDGE_TRUST'?"),
        ({"WEIGHBRIDGE_REQUIRE_FORBIDDEN": "zip,pikle"}, "WEIGHBRIDGE_REQUIRE_FORBIDDEN: no format is named 'pikle'"),
        ({"WEIGHBRIDGE_POLICY": "strikt"}, "strikt: not one of the shipped policies"),
        ({"WEIGHBRIDGE_POLICY": "./none.toml"}, "./none.toml: No such file"),
        ({"WEIGHBRIDGE_WAIVERS": "none.yaml"}, "none.yaml: No such file"),
    ],
)
def test_a_wrong_variable_is_an_error(environ: Mapping[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        chosen(tmp_path, environ=environ)
    assert str(caught.value).startswith(message)


def test_variables_of_others_are_let_be(tmp_path: Path) -> None:
    """Kubernetes makes some for a service that is called as this program is."""
    others = ["SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_443_TCP_ADDR", "PORT_443_TCP_PROTO", "SERVICE_PORT_HTTP"]
    environ = {f"WEIGHBRIDGE_{name}": "x" for name in (*others, "CONFIG", "HOME", "KEY_PASSWORD", "MODEL", "TRUST")}
    assert chosen(tmp_path, environ=environ).policy == shipped_policy("default")
    assert is_silent(environ, str(tmp_path))


def test_every_variable_that_is_read_is_known(tmp_path: Path) -> None:
    package = Path(rule_files.__file__).parent
    read = set(re.findall(r"\bWEIGHBRIDGE_[A-Z_]+[A-Z]\b", "".join(one.read_text() for one in package.rglob("*.py"))))
    assert {"WEIGHBRIDGE_TRUST", "WEIGHBRIDGE_HOME", "WEIGHBRIDGE_CONFIG", "WEIGHBRIDGE_KEY_PASSWORD"} <= read
    for name in read - {*VARIABLES, "WEIGHBRIDGE_POLICY", "WEIGHBRIDGE_WAIVERS"}:
        assert chosen(tmp_path, environ={name: "x"}).policy == shipped_policy("default")


def test_every_format_that_files_are_told_to_have_can_be_required() -> None:
    package = Path(rule_files.__file__).parent
    sources = "".join(one.read_text() for one in (package / "formats").rglob("*.py"))
    told = set(re.findall(r'Recognised\([^()]*format="([^"]+)"', sources))
    assert told == set(formats.VARIANTS)
    assert len(set(formats.names())) == len(formats.names())


def test_the_nearest_file_holds_and_a_pyproject_only_with_its_table(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\nname = "weighbridge"\n')
    assert find(str(inner)) == "" and is_silent({}, str(inner))
    (tmp_path / "weighbridge.toml").write_text('name = "outer"\n')
    assert chosen(inner).policy.name == "outer" and not is_silent({}, str(inner))
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.weighbridge]\nfail_at = "low"\n[tool.other]\nx = 1\n')
    found = chosen(inner)
    assert found.policy.fail_at is Severity.LOW and found.path == str(tmp_path / "a" / "pyproject.toml")
    (tmp_path / "a" / "weighbridge.toml").write_text('fail_at = "medium"\n')
    assert chosen(inner).policy.fail_at is Severity.MEDIUM
    assert chosen(inner, environ={"WEIGHBRIDGE_POLICY": "strict"}).policy.name == "strict"
    assert chosen(inner, Asked(policy="default"), environ={"WEIGHBRIDGE_POLICY": "strict"}).policy.name == "default"


def test_what_else_stands_in_a_pyproject_does_not_change_the_digest() -> None:
    table = b'[tool.weighbridge]\nfail_at = "low"\n'
    digests = {read_policy(data + table, "pyproject.toml").digest for data in (b"", b'[project]\nname = "x"\n')}
    assert len(digests) == 1
    with pytest.raises(DocumentError, match=r"^pyproject.toml:2:1: tool.weighbridge.fail: unknown key 'fail'"):
        read_policy(b'[tool.weighbridge]\nfail = "low"\n', "pyproject.toml")
    with pytest.raises(DocumentError, match=r"^pyproject.toml: there is no table 'tool.weighbridge'"):
        read_policy(b"[tool.other]\n", "pyproject.toml")


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_file_that_others_may_write_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "weighbridge.toml"
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(UsageError, match="other users may write this policy"):
        chosen(tmp_path)
    assert chosen(tmp_path, Asked(policy=str(path))).path == str(path)


def lay(folder: Path) -> Path:
    """Make a model that brings a policy which lets everything pass, and return its folder."""
    model = folder / "model"
    model.mkdir()
    (model / "m.pkl").write_bytes(b"\x80\x04N.")
    (model / "weighbridge.toml").write_text('fail_at = "critical"\n')
    return model


def test_no_policy_is_read_from_what_is_scanned(tmp_path: Path) -> None:
    model = lay(tmp_path)
    (tmp_path / "link").symlink_to(model)
    (tmp_path / "linked.toml").symlink_to(model / "weighbridge.toml")
    (model / "inner").mkdir()
    scanned = [str(model), str(tmp_path / "link"), os.path.relpath(model)]
    for one in scanned:
        for folder in (model, model / "inner"):
            with pytest.raises(UsageError, match="came with what is scanned"):
                chosen(folder, scanned=(one,))
        for policy in (model / "weighbridge.toml", tmp_path / "link" / "weighbridge.toml", tmp_path / "linked.toml"):
            with pytest.raises(UsageError, match="came with what is scanned"):
                chosen(tmp_path, Asked(policy=str(policy)), scanned=(one,))
            with pytest.raises(UsageError, match="came with what is scanned"):
                chosen(tmp_path, Asked(waivers=str(policy)), scanned=(one,))
    assert chosen(tmp_path, scanned=tuple(scanned)).path == ""
    assert chosen(model, Asked(policy="default"), scanned=tuple(scanned)).policy.name == "default"


def test_a_link_in_a_model_to_a_policy_elsewhere_is_part_of_the_model(tmp_path: Path) -> None:
    model = lay(tmp_path)
    (tmp_path / "elsewhere.toml").write_text('fail_at = "critical"\n')
    (model / "weighbridge.toml").unlink()
    (model / "weighbridge.toml").symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(UsageError, match="came with what is scanned"):
        chosen(model, scanned=(str(model),))


def test_what_lies_beside_a_scanned_file_holds_only_when_it_is_named(tmp_path: Path) -> None:
    model = lay(tmp_path)
    scanned = (str(model / "m.pkl"),)
    with pytest.raises(UsageError, match=r"came with what is scanned.*name it with --policy or --waivers"):
        chosen(model, scanned=scanned)
    with pytest.raises(UsageError, match="came with what is scanned"):
        chosen(model, scanned=scanned, environ={"WEIGHBRIDGE_POLICY": str(model / "weighbridge.toml")})
    named = chosen(model, Asked(policy=str(model / "weighbridge.toml")), scanned=scanned)
    assert named.policy.fail_at is Severity.CRITICAL


def test_trust_entries_are_not_read_from_what_is_scanned_either(tmp_path: Path) -> None:
    model = lay(tmp_path)
    (model / "t.yaml").write_text(TRUST.format(package="ours", reviewed="never"))
    (tmp_path / "weighbridge.toml").write_text('trust = ["model/t.yaml"]\n')
    with pytest.raises(UsageError, match="came with what is scanned"):
        chosen(tmp_path, scanned=(str(model),))


TRUST = "framework: ours\npackages: [{package}]\nreviewed: {reviewed}\nclasses:\n  {package}.models: Config\n"


def test_trust_entries_of_the_policy_speak_for_packages_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(TRUST.format(package="my_project", reviewed="by us"))
    (tmp_path / "p.toml").write_text('trust = ["ours.yaml"]\n')
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04cmy_project.models\nConfig\n)\x81.")
    (tmp_path / "n.pkl").write_bytes(b"\x80\x04cmy_project.models\nOther\n)\x81.")
    policy = load_policy(tmp_path / "p.toml")
    outcomes = {file.path: file.outcome for file in scan([tmp_path], policy=policy, include=["*.pkl"], jobs=2).files}
    assert [outcome for _, outcome in sorted(outcomes.items())] == [Outcome.PASS, Outcome.INCONCLUSIVE]
    assert scan([tmp_path / "m.pkl"]).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("package", ["torch", "builtins", "_codecs"])
def test_trust_entries_cannot_take_a_shipped_package_over(package: str, tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(TRUST.format(package=package, reviewed="by us"))
    (tmp_path / "p.toml").write_text('trust = ["ours.yaml"]\n')
    with pytest.raises(DocumentError, match=f"speaks for '{package}' already"):
        scan([tmp_path / "p.toml"], policy=load_policy(tmp_path / "p.toml"))


@pytest.mark.parametrize(("days", "limit", "holds"), [(180, 180, True), (181, 180, False), (181, 365, True)])
def test_a_waiver_may_not_hold_for_longer_than_the_policy_allows(
    days: int, limit: int, holds: bool, tmp_path: Path
) -> None:
    end = TODAY + timedelta(days=days)
    text = f"max_waiver_days = {limit}\n" + WAIVER.replace("2026-06-01", str(end))
    (tmp_path / "weighbridge.toml").write_text(text)
    if holds:
        assert len(chosen(tmp_path).policy.waivers) == 1
        return
    with pytest.raises(DocumentError, match=rf":8:1: {end} is {days} days away, and a waiver may hold for {limit}"):
        chosen(tmp_path)


def test_waivers_of_a_file_of_their_own_are_added(tmp_path: Path) -> None:
    (tmp_path / "weighbridge.toml").write_text(WAIVER)
    for name in ("more.yaml", "other.yaml"):
        (tmp_path / name).write_text(
            f"waivers:\n  - {{rule: {'PKL002' if name == 'more.yaml' else 'PKL003'}, digest: '{DIGEST}', reason: r, "
            "approver: a, expires: 2026-06-01}\n"
        )
    more, other = str(tmp_path / "more.yaml"), str(tmp_path / "other.yaml")
    assert [one.rule for one in chosen(tmp_path, Asked(waivers=more)).policy.waivers] == ["PKL001", "PKL002"]
    both = chosen(tmp_path, Asked(waivers=more), environ={"WEIGHBRIDGE_WAIVERS": other}).policy.waivers
    assert [one.rule for one in both] == ["PKL001", "PKL002"]
    assert [one.rule for one in chosen(tmp_path, environ={"WEIGHBRIDGE_WAIVERS": other}).policy.waivers] == [
        "PKL001",
        "PKL003",
    ]


def test_layers_that_contradict_each_other_are_an_error_of_the_stronger_one() -> None:
    layers = read_layers(b"require: {formats: [json]}\n", "a.yaml") + read_layers(
        b"require: {forbidden: [json]}\n", "b.yaml"
    )
    with pytest.raises(DocumentError, match=r"^b.yaml: 'json' is both among"):
        settle(layers)
    assert settle([]) == Policy(name="default", digest=settle([]).digest)
