"""Completion, asked for as the shells ask: by sourcing what the command prints and completing a line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from weighbridge.cli.group import COMMANDS

COMMAND = Path(sys.executable).with_name("weighbridge")
ENVIRONMENT = {
    "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}",
    "HOME": "/nonexistent",
    "TERM": "dumb",
    "LC_ALL": "C.UTF-8",
}


def shell(name: str, *arguments: str) -> str:
    """Return what a shell prints; skip the test when it is not installed."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([program, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def bash(*words: str) -> list[str]:
    """Return what bash offers for the last of some words."""
    line = " ".join(f"'{word}'" for word in words)
    script = (
        "source <(weighbridge completion bash); complete -p weighbridge > /dev/null || exit 1; "
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        "_weighbridge_completion weighbridge; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return shell("bash", "--noprofile", "--norc", "-c", script).split()


def test_bash_offers_commands_options_and_values() -> None:
    assert bash("weighbridge", "") == list(COMMANDS)
    assert bash("weighbridge", "ver") == ["verify", "verify-attestation"]
    assert "--policy" in bash("weighbridge", "scan", "--po")
    assert bash("weighbridge", "scan", "--format", "gitlab") == ["gitlab-sast", "gitlab-codequality"]
    assert "init" in bash("weighbridge", "trust", "")
    assert bash("weighbridge", "completion", "z") == ["zsh"]


def test_fish_offers_commands() -> None:
    script = "weighbridge completion fish | source; complete --do-complete 'weighbridge verify'"
    offered = shell("fish", "--no-config", "-c", script).split()
    assert offered == ["verify", "verify-attestation"]


def test_zsh_takes_the_lines_and_gets_an_answer() -> None:
    shell("zsh", "-f", "-c", "autoload -Uz compinit; compinit -D -u; source <(weighbridge completion zsh)")
    answer = "COMP_WORDS='weighbridge verify' COMP_CWORD=1 _WEIGHBRIDGE_COMPLETE=zsh_complete weighbridge"
    assert shell("zsh", "-f", "-c", answer).split() == ["plain", "verify", "_", "plain", "verify-attestation", "_"]


def test_names_of_commands_are_offered_without_importing_them() -> None:
    code = (
        "import sys; from weighbridge.cli.group import weighbridge, run\n"
        "try: run([])\nexcept SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('weighbridge.cli.')))"
    )
    asked = {"COMP_WORDS": "weighbridge ", "COMP_CWORD": "1", "_WEIGHBRIDGE_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT | asked, capture_output=True, text=True, check=True
    )
    *offered, modules = done.stdout.splitlines()
    assert len(offered) >= len(COMMANDS)
    assert modules == "weighbridge.cli.group"
