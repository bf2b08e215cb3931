"""The GitHub Action and the GitLab component, run as the services would run them: the same steps and variables."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

TREE = Path(__file__).resolve().parent.parent
COMMAND = Path(sys.executable).with_name("weighbridge")
GOOD, BAD = TREE / "fixtures/models/ordinary.pt", TREE / "fixtures/models/booby_trapped.pt"
ACTION: dict[str, Any] = yaml.safe_load((TREE / "action.yml").read_text(encoding="utf-8"))
COMPONENT = (TREE / "templates/weighbridge.yml").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the steps are for bash")


class Job:
    """A job that uses the action: the steps with a `run`, in order, with `if` where it decides anything here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs: dict[str, dict[str, str]] = {}
        self.log = ""
        self.summary = ""
        (folder / "work").mkdir()
        (folder / "temp/weighbridge-venv/bin").mkdir(parents=True)
        (folder / "temp/weighbridge-venv/bin/weighbridge").symlink_to(COMMAND)

    def use(self, inputs: Mapping[str, str]) -> int:
        """Return the exit status of the job, for which everything but installing is done."""
        given = {name: one.get("default", "") for name, one in ACTION["inputs"].items()} | dict(inputs)
        assert given.keys() == ACTION["inputs"].keys()
        status = 0
        for step in ACTION["runs"]["steps"]:
            if "run" in step and "install.sh" not in step["run"]:
                status = self._step(step, given)
        return status

    def _step(self, step: dict[str, Any], inputs: Mapping[str, str]) -> int:
        place = self.folder / "output"
        summary = self.folder / "summary"
        place.write_text("")
        summary.write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "GITHUB_OUTPUT": str(place),
            "GITHUB_STEP_SUMMARY": str(summary),
            **{name: self._value(text, inputs) for name, text in step["env"].items()},
        }
        assert step["shell"] == "bash"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder / "work",
            env=environment,
            capture_output=True,
            text=True,
        )
        self.log += done.stdout + done.stderr
        self.summary += summary.read_text()
        self.outputs[step.get("id", "")] = dict(line.split("=", 1) for line in place.read_text().splitlines())
        return done.returncode

    def _value(self, text: str, inputs: Mapping[str, str]) -> str:
        match text.removeprefix("${{ ").removesuffix(" }}").split("."):
            case ["inputs", name]:
                return inputs[name]
            case ["github", "action_path"]:
                return str(TREE)
            case ["steps", step, "outputs", name]:
                return self.outputs.get(step, {}).get(name, "")
        raise AssertionError(text)

    def output(self, name: str) -> str:
        """Return an output of the action."""
        return self._value(ACTION["outputs"][name]["value"], {})


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.mark.parametrize(("model", "status", "verdict"), [(GOOD, 0, "pass"), (BAD, 1, "fail")])
def test_a_scan_ends_the_job_as_the_verdict_says_and_leaves_reports(
    job: Job, model: Path, status: int, verdict: str
) -> None:
    assert job.use({"paths": str(model)}) == status, job.log
    assert (job.output("verdict"), job.output("exit-code")) == (verdict, str(status))
    assert json.loads(Path(job.output("report")).read_text())["outcome"] == verdict
    assert json.loads(Path(job.output("sarif")).read_text())["version"] == "2.1.0"
    assert Path(job.output("html")).read_text().startswith("<!doctype html>")
    assert verdict in job.summary
    assert ("::error" in job.log) == (verdict == "fail")


@pytest.mark.parametrize(("arguments", "status"), [("--exit-zero", 0), ("", 1)])
def test_the_verdict_is_that_of_the_report_whatever_the_status_is(job: Job, arguments: str, status: int) -> None:
    assert job.use({"paths": str(BAD), "arguments": arguments}) == status
    assert (job.output("verdict"), job.output("exit-code")) == ("fail", str(status))


def test_a_triage_that_found_nothing_is_no_pass(job: Job) -> None:
    assert job.use({"paths": GOOD.as_uri(), "arguments": "--triage"}) == 0, job.log
    assert job.output("verdict") == "inconclusive"


def test_several_paths_stand_a_line_each_and_may_begin_with_a_dash(job: Job) -> None:
    shutil.copy(GOOD, job.folder / "work/-two words.pt")
    assert job.use({"paths": f"{GOOD}\n\n-two words.pt\n"}) == 0, job.log
    assert len(json.loads(Path(job.output("report")).read_text())["files"]) == 2


def test_what_cannot_be_understood_is_inconclusive(job: Job) -> None:
    (job.folder / "work/strange.bin").write_bytes(b"\x00\x01\x02 nobody knows")
    assert job.use({"paths": "strange.bin"}) == 3
    assert job.output("verdict") == "inconclusive"


def test_a_job_may_go_on_after_a_verdict_but_not_after_an_error(job: Job) -> None:
    assert job.use({"paths": str(BAD), "fail": "false"}) == 0
    assert job.output("verdict") == "fail"
    assert job.use({"paths": "missing.pt", "fail": "false"}) == 4
    assert (job.output("verdict"), job.output("sarif")) == ("error", "")
    assert "    weighbridge: error: missing.pt" in job.summary


def test_the_gate_lets_a_model_in(job: Job) -> None:
    assert job.use({"reference": str(GOOD), "to": "models/name"}) == 0, job.log
    assert (job.folder / "work/models/name/approval.json").is_file()
    assert job.use({"reference": str(BAD), "to": "models/bad"}) == 1
    assert not (job.folder / "work/models/bad").exists()


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"reference": "hf://org/name"},
        {"reference": "hf://org/name", "to": "models", "paths": "models"},
        {"paths": "models", "to": "models"},
        {"paths": "models", "trust": "trust.toml"},
        {"paths": "models", "arguments": "--no-such-option"},
        {"paths": str(GOOD), "policy": "no-such-policy"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_wrong_usage(job: Job, inputs: dict[str, str]) -> None:
    assert job.use(inputs) == 2, job.log
    assert job.output("verdict") == "error"


@pytest.mark.parametrize("name", sorted(set(ACTION["inputs"]) - {"python-version", "extras", "category"}))
def test_no_input_is_ever_run(job: Job, name: str) -> None:
    hostile = "$(touch ran)`touch ran`;touch ran #'\"\ntouch ran\n"
    job.use({"paths": str(GOOD), "fail": "true"} | {name: hostile})
    assert not list(job.folder.rglob("ran"))


def test_no_step_has_an_expression_in_its_script_and_every_action_is_pinned_by_commit() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"])


def test_a_missing_status_fails_the_job() -> None:
    """When the step that weighs was killed there is no output at all."""
    done = subprocess.run([TREE / "deploy/github/decide.sh"], env={"PATH": os.environ["PATH"], "GATE_STATUS": ""})
    assert done.returncode == 70


def test_installing_imports_nothing_of_the_folder_that_the_job_works_in(tmp_path: Path) -> None:
    """`venv` and `pip` are run as modules, and the folder may hold files of these names."""
    for name in ("venv.py", "pip.py"):
        (tmp_path / name).write_text("open('ran', 'w')\n")
    environment = {
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GATE_PYTHON": sys.executable,
        "GATE_ACTION": str(tmp_path / "nothing to install"),
    }
    (tmp_path / "temp").mkdir()
    script = [TREE / "deploy/github/install.sh"]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "nothing to install" in done.stderr
    assert (tmp_path / "temp/weighbridge-venv/bin/python").exists()
    assert not (tmp_path / "ran").exists()
    done = subprocess.run(script, env=environment | {"GATE_EXTRAS": "lz4];touch ran"}, capture_output=True, text=True)
    assert done.returncode == 2


def component(inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the job of the component, as GitLab makes it of inputs."""
    head, body = (COMPONENT.split("\n---\n", 1)[0], COMPONENT.split("\n---\n", 1)[1])
    spec: dict[str, Any] = yaml.safe_load(head)["spec"]["inputs"]
    given = {name: str(one.get("default", "")).lower() for name, one in spec.items()} | dict(inputs)
    assert given.keys() == spec.keys()
    text = re.sub(r"\$\[\[ inputs\.([a-z-]+) \]\]", lambda found: given[found[1]], body)
    (made,) = yaml.safe_load(text).values()
    assert isinstance(made, dict)
    return made


def run_component(folder: Path, inputs: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    made = component({"image": "weighbridge", **inputs})
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), **made["variables"]}
    script = "\n".join(made["script"])
    return subprocess.run(["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("model", "status"), [(GOOD, 0), (BAD, 1)])
def test_the_component_scans_and_leaves_the_reports_that_it_names(tmp_path: Path, model: Path, status: int) -> None:
    shutil.copy(model, tmp_path / "model.pt")
    done = run_component(tmp_path, {"paths": "model.pt"})
    assert done.returncode == status, done.stderr
    artifacts = component({"image": "weighbridge"})["artifacts"]
    for name in (*artifacts["paths"], *artifacts["reports"].values()):
        assert (tmp_path / name).stat().st_size, name


def test_the_component_is_a_gate_too_and_says_what_is_missing(tmp_path: Path) -> None:
    done = run_component(tmp_path, {"reference": str(GOOD), "to": "models/name"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/name/approval.json").is_file()
    assert run_component(tmp_path, {"reference": str(GOOD)}).returncode not in (0, 1, 3)
    assert run_component(tmp_path, {}).returncode not in (0, 1, 3)


def test_the_component_lets_the_pipeline_go_on_after_a_verdict_and_never_after_an_error(tmp_path: Path) -> None:
    allowed = component({"image": "weighbridge"})["allow_failure"]["exit_codes"]
    assert run_component(tmp_path, {"paths": str(BAD), "allow-failure": "true"}).returncode in allowed
    assert run_component(tmp_path, {"paths": "missing.pt", "allow-failure": "true"}).returncode == 4
    assert run_component(tmp_path, {"paths": str(GOOD), "allow-failure": "true"}).returncode == 0
    assert run_component(tmp_path, {"paths": str(BAD)}).returncode == 1


def test_inputs_are_no_part_of_the_script_of_the_component() -> None:
    assert "$[[" not in "\n".join(component({"image": "weighbridge"})["script"])
    assert "$[[" not in COMPONENT.split("script:")[1].split("artifacts:")[0]


def hold(schema: str, document: Any) -> None:
    """Hold a document to the schema of a service; skip the test when no package has it."""
    package = pytest.importorskip("check_jsonschema")
    text = (Path(package.__file__).parent / f"builtin_schemas/vendor/{schema}.json").read_text(encoding="utf-8")
    loaded = json.loads(text)
    validator_for(loaded)(loaded).validate(document)


def test_the_schemas_of_github_and_gitlab_hold() -> None:
    hold("github-actions", ACTION)
    hold("gitlab-ci", {"weighbridge": component({"image": "weighbridge"})})


def test_zizmor_finds_nothing_in_the_action() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists():
        pytest.skip("zizmor is not installed")
    command = [str(zizmor), "--offline", str(TREE / "action.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def shown(page: str, word: str) -> str:
    """Return the one block of YAML in a page that has a word in it."""
    text = (TREE / "docs" / page).read_text(encoding="utf-8")
    (found,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if word in block]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("word", "schema"),
    [
        ("paths: |", "github-workflows"),
        ("reference: hf", "github-workflows"),
        ("PublishTestResults", "azure-pipelines"),
        ("component:", "gitlab-ci"),
    ],
)
def test_what_the_page_shows_holds_to_the_schema_of_the_service(word: str, schema: str) -> None:
    document = yaml.safe_load(shown("ci.md", word))
    if schema == "github-workflows":
        document = {"on": "push", "jobs": {"gate": {"runs-on": "ubuntu-latest", **document}}}
    hold(schema, document)


def test_the_page_names_every_input_and_output() -> None:
    page = (TREE / "docs/ci.md").read_text(encoding="utf-8")
    section = page.split("## GitHub")[1].split("## GitLab")[0]
    for name in (*ACTION["inputs"], *ACTION["outputs"]):
        assert f"`{name}`" in section, name
