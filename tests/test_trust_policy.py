"""What a trust policy says, whom it refuses to trust by mistake, and which rule is for which source."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise, product
from pathlib import Path

import pytest
from certifying import public_pem
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from weighbridge import toml_places
from weighbridge.digest import Digest
from weighbridge.errors import DocumentError, UsageError
from weighbridge.evidence import home, keys, patterns, trust_policy
from weighbridge.evidence.base import Method
from weighbridge.evidence.trust_policy import Expired, Missing, Pin, TrustPolicy, Uncovered
from weighbridge.refusals import SignerExpired, SourceUncovered, TrustCorrupt, TrustStale

A, B = "a" * 64, "b" * 64
WHOLE = f"""
version = 1
default = "deny"

[roots.public]
type = "sigstore"
trusted_root = "roots/public.json"
sha256 = "{A}"
max_age_days = 120
updated = 2026-10-01

[roots.nvidia]
type = "x509"
pem = "roots/nvidia.pem"
sha256 = "sha256:{B}"

[signers.acme-ci]
method = "sigstore"
root = "public"
issuer = "https://token.actions.githubusercontent.com"
source_repository = "https://github.com/acme/models"
workflow = ".github/workflows/sign.yml"
ref = "refs/tags/*"

[signers.nvidia]
method = "certificate"
root = "nvidia"
subject = "CN=NVIDIA Agent Skills Signing 001,O=NVIDIA Corporation,C=US"
expired = "accept-with-tsa"
timestamp_root = "public"

[signers.release]
method = "key"
public_key = "keys/release.pub"
sha256_spki = "{A}"
not_before = 2026-01-01
not_after = 2026-12-31

[[rules]]
source = "hf://acme/**"
require = ["acme-ci", "release"]
threshold = 1
signature_files = ["model.sig"]
missing = "deny"
symlinks = "deny"
unsigned_files = "warn"
ignored_paths = [".gitattributes"]
pin = "required"

[[rules]]
source = "hf://**"
require = []
missing = "allow"

[approvers]
gate = {{ signer = "release", verifier_id = "https://acme.example/model-gate" }}

[deny]
tree_sha256 = ["sha256:{A}"]
approval_sha256 = ["{B}"]
"""
PATH = Path("/etc/acme/trust.toml")


def parse(text: str) -> TrustPolicy:
    return trust_policy.parse(text, PATH)


def refused(text: str) -> str:
    """Return what is said of a wrong policy."""
    with pytest.raises(DocumentError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value).partition(": ")[2]


def test_a_whole_policy() -> None:
    policy = parse(WHOLE)
    assert policy.roots["public"].path == Path("/etc/acme/roots/public.json")
    assert policy.signers["acme-ci"].method is Method.SIGSTORE
    assert policy.signers["nvidia"].expired is Expired.ACCEPT_WITH_TSA
    assert policy.signers["release"].path == Path("/etc/acme/keys/release.pub")
    rule = policy.rule_for("hf://acme/bert")
    assert (rule.needed, rule.missing, rule.unsigned_files, rule.pin) == (1, Missing.DENY, Uncovered.WARN, Pin.REQUIRED)
    assert policy.approvers["gate"].signer == "release"
    assert policy.deny.tree(A)
    assert policy.deny.tree(f"sha256:{A}")
    assert policy.deny.approval(B)
    assert not policy.deny.approval(A)
    assert policy.digest == str(Digest.of(WHOLE.encode()))


def test_an_absolute_path_is_not_moved() -> None:
    assert parse(WHOLE.replace("roots/public.json", "/srv/public.json")).roots["public"].path == Path(
        "/srv/public.json"
    )


def test_a_source_without_a_rule_is_refused() -> None:
    with pytest.raises(
        SourceUncovered, match=r"oci://r/m: the trust policy /etc/acme/trust.toml has no rule for this source"
    ):
        parse(WHOLE).rule_for("oci://r/m")


def test_without_a_threshold_all_must_sign() -> None:
    assert parse(WHOLE.replace("threshold = 1\n", "")).rule_for("hf://acme/bert").needed == 2


WRONG = {
    "an unknown key": ("issuer =", "isuer =", "signers.acme-ci.isuer: unknown key 'isuer', did you mean 'issuer'?"),
    "an unknown table": ("[deny]", "[denied]", "denied: unknown key 'denied', did you mean 'deny'?"),
    "another version": ("version = 1", "version = 2", "a trust policy of version 2; this release reads version 1"),
    "no version": ("version = 1\n", "", "missing key 'version'"),
    "all is allowed": ('default = "deny"', 'default = "allow"', "default: 'allow' is not one of deny"),
    "no issuer": (
        'issuer = "https://token.actions.githubusercontent.com"\n',
        "",
        "signers.acme-ci: an identity without",
    ),
    "an empty issuer": ('"https://token.actions.githubusercontent.com"', '""', "signers.acme-ci: an identity without"),
    "any issuer": (
        '"https://token.actions.githubusercontent.com"',
        '"*"',
        "signers.acme-ci: 'issuer' has no wildcards",
    ),
    "no root": ('root = "public"\nissuer', "issuer", "signers.acme-ci: a signer of method sigstore needs a 'root'"),
    "an unknown root": (
        'root = "public"',
        'root = "publik"',
        "signers.acme-ci.root: no root is named 'publik', did you",
    ),
    "the wrong kind of root": ('root = "nvidia"', 'root = "public"', "signers.nvidia.root: root 'public' is of type"),
    "a kind of root that is none": (
        'type = "x509"',
        'type = "pgp"',
        "roots.nvidia.type: 'pgp' is not one of sigstore",
    ),
    "a root of the other kind": ("pem =", "trusted_root =", "roots.nvidia: a root of type x509 has 'pem' and no"),
    "an unpinned root": (f'sha256 = "{A}"\n', "", "roots.public: missing key 'sha256'"),
    "a short digest": (f'sha256 = "{A}"', 'sha256 = "abc"', "roots.public: 'abc' is not a sha256"),
    "an age from nowhere": ("updated = 2026-10-01\n", "", "roots.public: 'max_age_days' is at least 1"),
    "no age": ("max_age_days = 120", "max_age_days = 0", "roots.public: 'max_age_days' is at least 1"),
    "no ref": ('ref = "refs/tags/*"\n', "", "signers.acme-ci: name either 'identity'"),
    "two identities": ("ref =", 'identity = "x"\nref =', "signers.acme-ci: name either 'identity'"),
    "no identity": (
        'source_repository = "https://github.com/acme/models"\nworkflow = ".github/workflows/sign.yml"\n'
        'ref = "refs/tags/*"\n',
        "",
        "signers.acme-ci: name either 'identity'",
    ),
    "a repository of anybody": (
        "github.com/acme/models",
        "github.com/*",
        "signers.acme-ci: 'source_repository' has no",
    ),
    "a key of another method": ("subject =", 'identity = "x"\nsubject =', "'identity' means nothing for a signer of"),
    "no subject": ("subject =", "cert_sha256 =", "signers.nvidia: a signer of method certificate needs a 'root' and"),
    "nobody who stamps": ('timestamp_root = "public"\n', "", "signers.nvidia: 'timestamp_root', a root of type"),
    "no pinned key": (f'sha256_spki = "{A}"\n', "", "signers.release: a signer of method key needs 'public_key' and"),
    "days in the wrong order": ("not_after = 2026", "not_after = 2025", "signers.release: 'not_after' is before"),
    "a method that is none": ('method = "key"', 'method = "gpg"', "signers.release.method: 'gpg' is not one of key"),
    "an unknown signer": (
        '"acme-ci", "release"]',
        '"acme", "release"]',
        "rules[0].require[0]: no signer is named 'acme',",
    ),
    "a signer twice": ('"acme-ci", "release"]', '"release", "release"]', "rules[0]: 'require' names a signer twice"),
    "more than there are": (
        "threshold = 1",
        "threshold = 3",
        "rules[0]: 'threshold' is 3, and 2 signers are required",
    ),
    "a threshold of none": ("threshold = 1", "threshold = 0", "rules[0]: 'threshold' is 0"),
    "nothing required": ('missing = "allow"', 'missing = "deny"', "rules[1]: 'require' is empty and missing ="),
    "nothing said": ('require = []\nmissing = "allow"', "", "rules[1]: 'require' is empty and missing ="),
    "links": ('symlinks = "deny"', 'symlinks = "follow"', "rules[0].symlinks: 'follow' is not one of deny"),
    "no names of files": ('signature_files = ["model.sig"]', "signature_files = []", "rules[0]: 'signature_files' is"),
    "no source": ('source = "hf://acme/**"', 'source = ""', "rules[0]: 'source' is a pattern of 1 to"),
    "two for the same": (
        'source = "hf://**"',
        'source = "hf://acme/**"',
        "rules[1].source: as specific as 'hf://acme/**'",
    ),
    "an approver that nobody is": (
        'signer = "release"',
        'signer = "gate"',
        "approvers.gate.signer: no signer is named",
    ),
    "a verifier without a name": ('"https://acme.example/model-gate"', '""', "approvers.gate: 'verifier_id' is empty"),
    "a denied nothing": (f'["sha256:{A}"]', '["model"]', "deny: 'model' is not a sha256"),
    "a name of spaces": ("[roots.nvidia]", '[roots."a b"]', "roots.a b: a name is 1 to 64 letters"),
    "not TOML": ("version = 1", "version = ", "Invalid value"),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG)
def test_a_policy_that_would_trust_by_mistake_is_refused(old: str, new: str, said: str) -> None:
    assert old in WHOLE
    assert said in refused(WHOLE.replace(old, new, 1))


@given(place=st.integers(0, len(WHOLE) - 1), length=st.integers(0, 40), text=st.text(max_size=8))
def test_any_text_is_a_policy_or_an_error_of_the_document(place: int, length: int, text: str) -> None:
    try:
        policy = parse(WHOLE[:place] + text + WHOLE[place + length :])
    except DocumentError as error:
        assert str(error).startswith("/etc/acme/trust.toml:")
    else:
        assert all(one.issuer and one.root for one in policy.signers.values() if one.method is Method.SIGSTORE)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("issuer =", "isuer =", "20:1: signers.acme-ci.isuer"),
        ("workflow", "identity = 'x'\nworkflow", "17:1: signers.acme-ci: name either"),
        ('"acme-ci", "release"]', '\n"acme-ci", # "[\n"releas"]', "43:1: rules[0].require[1]: no signer"),
        ('source = "hf://**"', ' \tsource = "hf://acme/**"', "51:3: rules[1].source: as specific"),
        ("version = 1\n", "", "/etc/acme/trust.toml: missing key 'version'"),
        ("version = 1", "version = ", "2:11: Invalid value"),
        ('{ signer = "release"', '{ signer = "gate"', "56:10: approvers.gate.signer: no signer is named"),
    ],
)
def test_an_error_has_its_line_and_column(old: str, new: str, place: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(WHOLE.replace(old, new, 1))
    assert str(caught.value).startswith(f"/etc/acme/trust.toml:{place}" if place[0].isdigit() else place)


@pytest.mark.parametrize(
    ("text", "keys", "place"),
    [
        ("a = 1\nb = 2\n", "b", (2, 1)),
        ("# [a]\n[a] # b\n'b' = 1", "a.b", (3, 1)),
        ('a = """\nb = 1\n"""\nb = 2', "b", (4, 1)),
        ("a = '''\nb = 1\n'''\nb = 2", "b", (4, 1)),
        ('a = "\\"["\nb = 2', "b", (2, 1)),
        ("a = [ # ]\n {b = 1},\n]\nb = 2", "b", (4, 1)),
        ("a = [ # ]\n {b = 1},\n]\nb = 2", "a[0].b", (2, 3)),
        ("a.b = 1\na.c = 2", "a.c", (2, 1)),
        ('[a."b c"]\nd = 1', "a.b c.d", (2, 1)),
        ("[[a]]\nb = 1\n[a.c]\nd = 1\n[[a]]\n[a.c]\nd = 1", "a[1].c.d", (7, 1)),
        ("a = 1", "ab", None),
        ("", "a", None),
    ],
)
def test_places_in_toml(text: str, keys: str, place: tuple[int, int] | None) -> None:
    assert toml_places.find(text, keys) == place


@pytest.mark.parametrize(
    ("glob", "narrow"),
    [
        ("https://github.com/acme/*/.github/workflows/sign.yml@refs/heads/main", True),
        ("https://github.com/acme/**", True),
        ("*@acme.example", True),
        ("release-*@acme.example", True),
        ("https://github.com/acm*/**", False),
        ("https://github.com/**", False),
        ("https://github.com/acme*", False),
        ("https://*.com/acme/x", False),
        ("http*://github.com/acme/x", False),
        ("*@*.example", False),
        ("alice@*", False),
        ("**", False),
        ("*", False),
        ("a" * 2000 + "@acme.example", False),
    ],
)
def test_a_pattern_of_identities_names_an_owner_or_a_domain(glob: str, narrow: bool) -> None:
    claims = WHOLE[WHOLE.index("source_repository") : WHOLE.index("[signers.nvidia]")]
    text = WHOLE.replace(claims, f'identity_glob = "{glob}"\n\n')
    if narrow:
        assert parse(text).signers["acme-ci"].identity_glob == glob
    else:
        assert "signers.acme-ci: 'identity_glob'" in refused(text)


@pytest.mark.parametrize("name", ["trust.yaml", "trust", "trust.json"])
def test_a_policy_is_toml(name: str) -> None:
    with pytest.raises(DocumentError, match=r"ends in \.toml"):
        trust_policy.parse("version: 1", Path(name))


def test_a_file_that_cannot_be_read_is_an_error_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    with pytest.raises(DocumentError, match="there is no such file; `weighbridge trust init` writes one"):
        trust_policy.read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(DocumentError, match="not UTF-8"):
        trust_policy.read(path)
    path.write_bytes(b"#" * (trust_policy.MAX_POLICY + 1))
    with pytest.raises(DocumentError, match="larger than"):
        trust_policy.read(path)


# What is looked for and the rules, of which the last decides.
SPECIFIC = [
    (
        "hf://acme/bert",
        ["**", "hf://**", "hf://*/bert", "hf://acme/**", "hf://acme/*", "hf://acme/be*", "hf://acme/bert"],
    ),
    ("hf://acme/bert/onnx", ["hf://acme/**", "hf://acme/**/onnx", "hf://acme/bert/**", "hf://acme/bert/*"]),
    ("s3://bucket/a/b", ["s3://**", "s3://*/a/*", "s3://bucket/**", "s3://bucket/a*/b"]),
]


@pytest.mark.parametrize(("source", "sources"), SPECIFIC)
def test_the_most_specific_rule_decides_in_whatever_order(source: str, sources: list[str]) -> None:
    for given_ in (sources, sources[::-1]):
        text = "version = 1\n" + "".join(f'[[rules]]\nsource = "{one}"\nmissing = "allow"\n' for one in given_)
        policy = parse(text)
        assert policy.rule_for(source).source == sources[-1]
    for less, more in pairwise(sources):
        assert patterns.specificity(less) < patterns.specificity(more)


def test_rules_that_tie_are_refused_only_where_a_source_could_match_both() -> None:
    def both(one: str, other: str) -> str:
        rules = (f'[[rules]]\nsource = "{source}"\nmissing = "allow"\n' for source in (one, other))
        return "version = 1\n" + "".join(rules)

    assert "rules[1].source: as specific as 'hf://a*/*b'" in refused(
        both("hf://a*/*b", "hf://a*/*c").replace("*c", "*b")
    )
    assert "rules[1].source: as specific" in refused(both("hf://*ab*", "hf://*cd*"))
    assert parse(both("hf://acme/**", "hf://other/**")).rules
    assert parse(both("hf://*a", "hf://*b")).rules


WORDS = st.text(alphabet="ab/*", max_size=8)


@given(pattern=WORDS, text=st.text(alphabet="ab/", max_size=8))
def test_a_pattern_matches_as_its_words_say(pattern: str, text: str) -> None:
    said = "".join({"**": "(?s:.*)", "*": "[^/]*"}.get(one, re.escape(one)) for one in patterns.tokens(pattern))
    assert patterns.matches(pattern, text) == bool(re.fullmatch(said, text))


@given(one=WORDS, other=WORDS, text=st.text(alphabet="ab/", max_size=6))
def test_patterns_that_match_the_same_text_overlap(one: str, other: str, text: str) -> None:
    assert patterns.overlap(one, other) == patterns.overlap(other, one)
    if patterns.matches(one, text) and patterns.matches(other, text):
        assert patterns.overlap(one, other)


@given(one=st.text(alphabet="a/*", max_size=4), other=st.text(alphabet="a/*", max_size=4))
def test_patterns_that_overlap_match_some_text(one: str, other: str) -> None:
    texts = ["".join(word) for size in range(7) for word in product("a/", repeat=size)]
    some = any(patterns.matches(one, text) and patterns.matches(other, text) for text in texts)
    assert patterns.overlap(one, other) == some


def test_a_long_pattern_takes_no_longer_than_its_length() -> None:
    """A regular expression of such wildcards would not come back."""
    assert not patterns.matches("*a" * 40, "a" * 500 + "/")
    assert not patterns.matches("a", "a" * (patterns.MAX_LENGTH + 1))


def test_a_root_is_read_only_as_it_is_pinned(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    policy = trust_policy.parse(WHOLE, path)
    root = policy.roots["nvidia"]
    with pytest.raises(TrustCorrupt, match=r"cannot be read: No such file.*'nvidia'"):
        root.read()
    root.path.parent.mkdir()
    root.path.write_bytes(b"changed")
    with pytest.raises(TrustCorrupt, match=f"has sha256 {Digest.of(b'changed').value}, root 'nvidia' pins {B}"):
        root.read()
    pinned = trust_policy.parse(WHOLE.replace(B, Digest.of(b"changed").value), path)
    assert pinned.roots["nvidia"].read() == b"changed"


def test_a_root_grows_old() -> None:
    root = parse(WHOLE).roots["public"]
    root.check_age(datetime(2027, 1, 29, 23, tzinfo=UTC))
    with pytest.raises(TrustStale, match=r"updated 121 days ago, the trust policy allows 120.*trust update public"):
        root.check_age(datetime(2027, 1, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("moment", "good"),
    [("2026-01-01T00:00", True), ("2026-12-31T23:59", True), ("2025-12-31T23:59", False), ("2027-01-01T00:00", False)],
)
def test_a_key_has_its_days(moment: str, good: bool) -> None:
    signer, now = parse(WHOLE).signers["release"], datetime.fromisoformat(moment).replace(tzinfo=UTC)
    if good:
        signer.check_days(now, "model.sig")
    else:
        with pytest.raises(SignerExpired, match="'release' may be used from 2026-01-01 to 2026-12-31, and it is"):
            signer.check_days(now, "model.sig")


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the person a folder of settings of their own."""
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("WEIGHBRIDGE_TRUST", raising=False)
    return tmp_path / "config"


def test_without_a_policy_nobody_is_trusted(config: Path) -> None:
    policy = trust_policy.default()
    assert (policy.signers, policy.approvers, policy.rules) == ({}, {}, ())
    with pytest.raises(SourceUncovered):
        policy.rule_for("hf://acme/bert")


def test_without_a_policy_the_own_key_approves_and_signs_for_nothing_else(config: Path) -> None:
    home.make_key(home.key_path(), home.public_key_path())
    policy = trust_policy.default()
    (approver,) = policy.approvers.values()
    key = keys.load_public(home.public_key_path().read_bytes(), "key")
    assert policy.signers[approver.signer].sha256_spki == keys.key_digest(key).value
    assert approver.verifier_id == trust_policy.OWN_VERIFIER
    assert policy.rules == ()


def test_a_policy_replaces_what_is_trusted_without_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.make_key(home.key_path(), home.public_key_path())
    home.trust_path().write_text(WHOLE)
    assert set(trust_policy.default().approvers) == {"gate"}
    (tmp_path / "other.toml").write_text("version = 1\n")
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(tmp_path / "other.toml"))
    assert not trust_policy.default().approvers
    monkeypatch.setenv("WEIGHBRIDGE_TRUST", str(tmp_path / "absent.toml"))
    with pytest.raises(DocumentError, match="there is no such file"):
        trust_policy.default()


@pytest.mark.parametrize(
    ("system", "variables", "folder"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/xdg"}, "/xdg/weighbridge"),
        ("linux", {"HOME": "/home/ann"}, "/home/ann/.config/weighbridge"),
        ("darwin", {"HOME": "/Users/ann"}, "/Users/ann/Library/Application Support/weighbridge"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/weighbridge"),
        ("linux", {"WEIGHBRIDGE_CONFIG": "/etc/wb", "XDG_CONFIG_HOME": "/xdg"}, "/etc/wb"),
    ],
)
def test_where_settings_lie(
    system: str, variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WEIGHBRIDGE_CONFIG", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", system)
    assert home.folder() == Path(folder)


def test_a_link_to_nowhere_is_a_policy_that_cannot_be_read(config: Path) -> None:
    """It must not be taken for no policy, under which the own key approves."""
    home.make_key(home.key_path(), home.public_key_path())
    home.trust_path().symlink_to("absent.toml")
    with pytest.raises(DocumentError, match="there is no such file"):
        trust_policy.default()


def test_a_public_key_that_is_none_is_an_error_of_the_document(config: Path) -> None:
    home.make_folder(config)
    home.public_key_path().write_bytes(b"nothing")
    with pytest.raises(DocumentError, match=r"key\.pub\.pem: not a public key in PEM"):
        trust_policy.default()


def test_the_digest_of_a_key_is_the_same_without_cryptography() -> None:
    for curve in (ec.SECP256R1(), ec.SECP521R1()):
        pem = public_pem(ec.generate_private_key(curve))
        assert keys.pem_digest(pem, "key") == keys.key_digest(keys.load_public(pem, "key"))
        assert keys.pem_digest(pem.replace(b"\n", b"\r\n"), "key") == keys.pem_digest(pem, "key")


def test_a_private_key_is_the_persons_alone(config: Path) -> None:
    home.make_key(home.key_path(), home.public_key_path())
    assert config.stat().st_mode & 0o777 == 0o700
    assert home.key_path().stat().st_mode & 0o777 == 0o600
    before = home.key_path().read_bytes()
    with pytest.raises(UsageError, match="is there already; nothing was written"):
        home.make_key(home.key_path(), home.public_key_path())
    assert home.read_private(home.key_path()) == before
    assert sorted(path.name for path in config.iterdir()) == ["key.pem", "key.pub.pem"]
    home.key_path().chmod(0o640)
    with pytest.raises(UsageError, match=r"other users may read or write this key \(mode 0640\); chmod 600 it"):
        home.read_private(home.key_path())


def test_self_is_the_users_own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CONFIG", str(tmp_path / "config"))
    text = 'version = 1\n[approvers]\nme = { signer = "self", verifier_id = "urn:x" }\n'
    without = trust_policy.parse(text, tmp_path / "trust.toml")
    assert (dict(without.approvers), dict(without.signers)) == ({}, {})
    home.make_key(home.key_path(), home.public_key_path())
    found = trust_policy.parse(text, tmp_path / "trust.toml")
    assert found.approvers["me"].signer == trust_policy.OWN
    assert found.signers == trust_policy.own().signers
    with pytest.raises(DocumentError, match="no signer is named 'selv'"):
        trust_policy.parse(text.replace("self", "selv"), tmp_path / "trust.toml")
    rule = '[[rules]]\nsource = "hf://**"\nrequire = ["self"]\n'
    with pytest.raises(DocumentError, match="no signer is named 'self'"):
        trust_policy.parse(text + rule, tmp_path / "trust.toml")
