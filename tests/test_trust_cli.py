"""`weighbridge trust` as a user runs it, and what it says of policies that can be read and are odd."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certifying import authority, public_pem
from cryptography.hazmat.primitives.asymmetric import ec
from keyless_signing import instance
from servers.fake_tuf import FakeTuf

from weighbridge.cli import _run
from weighbridge.cli.group import run
from weighbridge.digest import Digest
from weighbridge.evidence import keys, trust_policy, trust_update

Command = Callable[..., tuple[int, str, str]]
TODAY = datetime.now(UTC).date()
A = "a" * 64


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep what the person has on the machine out of the tests."""
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    return tmp_path / "config"


@pytest.fixture
def trust(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return what runs the command and gives its status, its output and its errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = _run(run, ["trust", *map(str, arguments)])
        return status, *capfd.readouterr()

    return call


def test_init_trusts_the_own_key_to_approve_and_nothing_else(trust: Command, config: Path) -> None:
    assert _run(run, ["key", "init"]) == 0
    status, out, _ = trust("init")
    assert (status, out) == (0, f"wrote {config}/trust.toml; it trusts your own key to approve\n")
    policy = trust_policy.default()
    assert policy.approvers["self"].verifier_id == trust_policy.OWN_VERIFIER
    assert policy.signers["self"].path == config / "key.pub.pem"
    assert policy.rules == ()
    assert trust("lint") == (0, f"{config}/trust.toml: 0 errors, 0 warnings\n", "")


def test_init_writes_nothing_over_another(trust: Command, config: Path, tmp_path: Path) -> None:
    assert trust("init")[1].endswith("it trusts nobody yet\n")
    assert (config.stat().st_mode & 0o777, trust("init")[0]) == (0o700, 2)
    assert "everything is denied" in trust("lint")[1]
    path = tmp_path / "policy.toml"
    assert trust("init", path)[0] == 0
    assert "the name of a trust policy ends in .toml" in trust("init", tmp_path / "policy.yaml")[2]


def test_the_examples_in_a_new_policy_are_right(trust: Command, config: Path) -> None:
    """Whoever takes the comment signs away gets a policy that can be read."""
    trust("init")
    lines = (config / "trust.toml").read_text().splitlines()
    code = [line.removeprefix("# ") if "=" in line or line.startswith("# [") else line for line in lines]
    policy = trust_policy.parse("\n".join(code), config / "trust.toml")
    assert policy.rule_for("hf://acme/bert").require == ("acme-ci",)
    assert policy.roots["public"].tuf == trust_update.PUBLIC


def write(folder: Path, text: str) -> Path:
    """Write a policy with a root of each type and a key, whose digests stand for themselves in `text`."""
    root, private = authority("Root"), ec.generate_private_key(ec.SECP256R1())
    raw = json.dumps(instance().trusted_root()).encode()
    (folder / "root.pem").write_bytes(root.pem)
    (folder / "public.json").write_bytes(raw)
    (folder / "release.pub").write_bytes(public_pem(private))
    given = {
        "A": A,
        "PEM": Digest.of(root.pem).value,
        "JSON": Digest.of(raw).value,
        "SPKI": keys.key_digest(private.public_key()).value,
        "TODAY": str(TODAY),
        "LAST_YEAR": str(TODAY - timedelta(days=365)),
        "SOON": str(TODAY + timedelta(days=5)),
    }
    for word, value in given.items():
        text = text.replace(f"<{word}>", value)
    path = folder / "trust.toml"
    path.write_text(text)
    folder.chmod(0o755)
    path.chmod(0o644)
    return path


WHOLE = """
version = 1
[roots.public]
type = "sigstore"
trusted_root = "public.json"
sha256 = "<JSON>"
max_age_days = 120
updated = <TODAY>
[roots.acme]
type = "x509"
pem = "root.pem"
sha256 = "<PEM>"
[signers.ci]
method = "sigstore"
root = "public"
issuer = "https://login.acme.test"
identity = "alice@acme.test"
[signers.office]
method = "certificate"
root = "acme"
subject = "CN=Office"
[signers.release]
method = "key"
public_key = "release.pub"
sha256_spki = "<SPKI>"
[[rules]]
source = "hf://acme/**"
require = ["ci", "office", "release"]
threshold = 2
pin = "required"
ignored_paths = [".gitattributes"]
[[rules]]
source = "hf://acme/open"
missing = "allow"
[approvers]
gate = { signer = "release", verifier_id = "https://acme.test/gate" }
[deny]
tree_sha256 = ["<A>"]
"""


def test_a_sound_policy_has_remarks_only_where_it_is_lax(trust: Command, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    status, out, _ = trust("lint", path)
    assert status == 0
    lax = f"warning: {path}:rules[1]: lets 'hf://acme/open' in with any or no signature\n"
    assert out == f"{lax}{path}: 0 errors, 1 warning\n"
    assert trust("lint", path, "--strict")[0] == 1


OFFICE = 'root = "acme"\nsubject = "CN=Office"'
PUBLIC = 'trusted_root = "public.json"\nsha256 = "<JSON>"'
ALL = 'require = ["ci", "office", "release"]\nthreshold = 2'
# What is written instead of what, the status, and what is said.
ODD = {
    "a root that was altered": ('sha256 = "<PEM>"', 'sha256 = "<A>"', 1, "error: :roots.acme: "),
    "a root that is missing": ('"root.pem"', '"absent.pem"', 1, "cannot be read: No such file or directory"),
    "a root that is none": (
        'pem = "root.pem"\nsha256 = "<PEM>"',
        'pem = "public.json"\nsha256 = "<JSON>"',
        1,
        "no certificates in PEM",
    ),
    "a root of no sigstore": (PUBLIC, 'trusted_root = "root.pem"\nsha256 = "<PEM>"', 1, "not a sigstore trust root"),
    "a root that is too old": (
        "updated = <TODAY>",
        "updated = <LAST_YEAR>",
        1,
        "365 days ago, the trust policy allows",
    ),
    "a root that is soon too old": ("_days = 120", "_days = 20", 0, "too old in 20 days; `weighbridge trust update"),
    "a root of any age": ("max_age_days = 120", "", 0, "has no max_age_days"),
    "another key": ("<SPKI>", A, 1, f"'release' pins {A}"),
    "a key that is over": ('"<SPKI>"', '"<SPKI>"\nnot_after = <LAST_YEAR>', 1, "may be used from ever to"),
    "a key that is soon over": ('"<SPKI>"', '"<SPKI>"\nnot_after = <SOON>', 0, "the key may be used for 5 more days"),
    "a rule that only warns": (ALL, f'{ALL}\nmissing = "warn"', 0, "only warns when 'hf://acme/**' has no"),
    "files that are not signed": (ALL, f'{ALL}\nunsigned_files = "warn"', 0, "only warns of files that no"),
    "one person twice": (ALL, 'require = ["release", "again"]', 1, "some are the same person"),
    "a signer that nobody needs": ('"office", ', "", 0, ":signers.office: no rule requires this signer"),
    "a root that nobody is below": (OFFICE, OFFICE.replace("acme", "other"), 0, ":roots.acme: no signer is below"),
}
MORE = {
    "one person twice": '[signers.again]\nmethod = "key"\npublic_key = "release.pub"\nsha256_spki = "<SPKI>"\n',
    "a root that nobody is below": '[roots.other]\ntype = "x509"\npem = "root.pem"\nsha256 = "<PEM>"\n',
}


@pytest.mark.parametrize("name", ODD)
def test_lint_names_what_is_odd(name: str, trust: Command, tmp_path: Path) -> None:
    old, new, status, said = ODD[name]
    assert old in WHOLE
    path = write(tmp_path, WHOLE.replace(old, new, 1) + MORE.get(name, ""))
    found, out, _ = trust("lint", path)
    assert said in out.replace(f"error: {path}", "error: ")
    assert found == status


def test_lint_says_who_else_can_write(trust: Command, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    path.chmod(0o666)
    assert f"users other than its owner may write to {path}\n" in trust("lint", path)[1]


def test_lint_says_when_an_authority_ends(trust: Command, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    now = datetime.now(UTC)
    old = authority("Old", begin=now - timedelta(days=9), end=now + timedelta(days=9))
    (tmp_path / "root.pem").write_bytes(old.pem)
    text = path.read_text()
    before = text.split('pem = "root.pem"\nsha256 = "')[1][:64]
    path.write_text(text.replace(before, Digest.of(old.pem).value))
    assert "the certificate of 'CN=Old' ends on" in trust("lint", path)[1]


def test_a_policy_that_cannot_be_read_is_wrong_usage(trust: Command, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE.replace("issuer =", "isuer ="))
    for command in ("lint", "show"):
        status, out, err = trust(command, path)
        assert (status, out) == (2, "")
        assert (
            err == f"weighbridge: error: {path}:16:1: signers.ci.isuer: unknown key 'isuer', did you mean 'issuer'?\n"
        )


def test_show_says_whom_it_believes(trust: Command, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    status, out, _ = trust("show", path)
    assert status == 0
    assert out.splitlines()[0] == f"trust policy {path}, {trust_policy.read(path).digest}"
    for line in (
        f"root public: sigstore, {tmp_path}/public.json, updated {TODAY}",
        "signer ci: sigstore, alice@acme.test, issuer https://login.acme.test, root public",
        "signer office: certificate, CN=Office, root acme",
        "source hf://acme/**: 2 of ci, office, release must sign (missing: deny), unsigned files: deny, "
        "may leave out .gitattributes, pinned revisions only",
        "source hf://acme/open: nobody need sign (missing: allow), unsigned files: deny",
        "approver gate: release in the name of https://acme.test/gate",
        f"denied tree {A}",
        "everything else is denied",
    ):
        assert line in out.splitlines()


def test_show_says_what_applies_to_a_model(trust: Command, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    _, out, _ = trust("show", path, "--source", "hf://acme/bert")
    assert out.startswith("source hf://acme/**: 2 of ci")
    assert "  signer release: key, sha256:" in out
    assert trust("show", path, "--source", "hf://acme/open")[1].startswith("source hf://acme/open")
    status, _, err = trust("show", path, "--source", "hf://other/bert")
    assert status == 1
    assert "[POLICY_NO_RULE]; add one" in err


def test_a_home_that_nobody_has_is_wrong_usage(trust: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", "~nobody-has-this-name/trust.toml")
    status, _, err = trust("lint")
    assert status == 2
    assert "no such home is known here; name a folder with WEIGHBRIDGE_TRUST" in err


def test_the_variable_names_the_policy(trust: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, WHOLE)
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(path))
    assert trust("show")[1].startswith(f"trust policy {path}, ")
    assert trust("lint")[1].endswith(f"{path}: 0 errors, 1 warning\n")


def test_show_says_what_applies_to_a_model_where_there_are_no_rules(trust: Command, config: Path) -> None:
    status, out, _ = trust("show", "--source", "hf://acme/bert")
    assert (status, out.partition(":")[0]) == (0, "no rules")


def test_without_a_policy_show_says_what_holds(trust: Command, config: Path) -> None:
    assert trust("show")[1] == f"trust policy {config}/trust.toml (not there)\neverything else is denied\n"


@pytest.fixture
def tuf() -> Iterator[FakeTuf]:
    """Return a repository of a private instance."""
    with FakeTuf({trust_update.TRUSTED_ROOT: json.dumps(instance().trusted_root()).encode()}) as repository:
        yield repository


def test_update_pins_what_the_repository_of_each_root_gives(trust: Command, tuf: FakeTuf, tmp_path: Path) -> None:
    text = WHOLE.replace('"<JSON>"', f'"{A}"\ntuf = "{tuf.url}"').replace("<TODAY>", "<LAST_YEAR>")
    path = write(tmp_path, text)
    (tmp_path / "root.json").write_bytes(tuf.root)
    status, out, err = trust("update", "--trust", path, "--root", tmp_path / "root.json")
    digest = Digest.of((tmp_path / "public.json").read_bytes()).value
    assert (status, err) == (0, "")
    assert out == f"public: {tmp_path}/public.json, sha256 {A} is now {digest}\n"
    assert trust_policy.read(path).roots["public"].updated == TODAY
    assert trust("update", "public", "--trust", path)[1].endswith(f"sha256 {digest}, as before\n")


def test_update_never_takes_one_instance_for_another(trust: Command, tmp_path: Path) -> None:
    """A root of a private instance must not become that of the public one because nobody said whose it is."""
    path = write(tmp_path, WHOLE)
    before = (path.read_bytes(), (tmp_path / "public.json").read_bytes())
    assert "no root has a repository to update from" in trust("update", "--trust", path)[2]
    assert "write in [roots.public] which repository it is of" in trust("update", "public", "--trust", path)[2]
    status, _, err = trust("update", "absent", "--trust", path)
    assert status == 2
    assert "has no root 'absent' of type sigstore" in err
    assert (path.read_bytes(), (tmp_path / "public.json").read_bytes()) == before


def test_a_repository_that_is_not_there_is_a_source_error(trust: Command, tuf: FakeTuf, tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE.replace('"<JSON>"', f'"<JSON>"\ntuf = "{tuf.url}"'))
    (tmp_path / "root.json").write_bytes(tuf.root)
    tuf.server.close()
    assert trust("update", "--trust", path, "--root", tmp_path / "root.json")[0] == 4


def test_commands_with_keys_import_neither_sigstore_nor_what_it_brings(tmp_path: Path) -> None:
    """They would take half a second to begin."""
    program = (
        "import sys\n"
        "from weighbridge.evidence import bundle, dsse, home, trust_policy, verifier\n"
        "assert 'cryptography' not in sys.modules\n"
        "from datetime import UTC, datetime\n"
        "from weighbridge.evidence.signers import KeySigner\n"
        "home.make_key(home.key_path(), home.public_key_path())\n"
        "policy = trust_policy.default()\n"
        "made = KeySigner(home.read_private(home.key_path()), where='key').sign(b'{}', dsse.IN_TOTO)\n"
        "now = datetime.now(UTC)\n"
        "verifier.verify(bundle.parse(made, 'made'), policy.signers['self'], policy, now=now)\n"
        "heavy = {'sigstore', 'tuf', 'pydantic', 'requests', 'rfc3161_client'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
