"""What a wheel and a source archive hold."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import click
import pytest

TREE = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both archives, without the network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_the_package_the_rules_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {p.relative_to(TREE / "scanner").as_posix() for p in (TREE / "scanner/weighbridge").rglob("*.py")}
    rules = {f"weighbridge/_rules/{p.relative_to(TREE / 'rules').as_posix()}" for p in (TREE / "rules").rglob("*.*")}
    others = {"weighbridge/py.typed", "weighbridge/_schema/verdict-1.schema.json", "weighbridge/report/html/style.css"}
    assert modules | rules | others <= names
    rest = {name for name in names if not name.startswith("weighbridge/")}
    assert all(".dist-info/" in name for name in rest)
    assert not [name for name in names if "fixtures" in name or "tests" in name or name.endswith(".pkl")]


def test_the_source_archive_builds_and_carries_no_fixtures(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "scanner/weighbridge/__init__.py"} <= names
    assert any(name.startswith("rules/pickle/") for name in names)
    assert not [name for name in names if name.startswith(("fixtures", "tests", "benchmarks"))]


def test_the_command_works_from_the_wheel_alone(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "plain.pkl").write_bytes(b"\x80\x04K\x01.")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import weighbridge.rules as r; "
        "assert '_rules' in str(r.rules_directory()); from weighbridge.cli import main; main()"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path / "site"), "scan", str(tmp_path / "plain.pkl")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pass: ")


def test_a_scan_from_the_wheel_imports_nothing_that_it_does_not_use(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "plain.pkl").write_bytes(b"\x80\x04K\x01.")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from weighbridge.cli.group import run; "
        "run(sys.argv[1:]); print(*sys.modules)"
    )
    command = [sys.executable, "-P", "-S", "-c", code, str(tmp_path / "site"), "scan", str(tmp_path / "plain.pkl")]
    environment = {**os.environ, "PYTHONPATH": str(Path(click.__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "weighbridge.formats.pickle.machine" in imported, done.stderr
    assert not imported & {
        "asyncio",
        "concurrent.futures",
        "pathlib",
        "tempfile",
        "yaml",
        "weighbridge.formats.tar.parse",
        "weighbridge.formats.zip.parse",
        "weighbridge.inspection",
        "weighbridge.report.json",
        "weighbridge.report.sarif",
    }
