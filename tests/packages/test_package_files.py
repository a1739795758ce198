"""The files by which others package, run and cite this: each says the same as setup.cfg and the code."""

from __future__ import annotations

import configparser
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from packaging.requirements import Requirement
from paths import PACKAGING, ROOT

import kipoi_mcdropout
from kipoi_mcdropout.cli import COMMANDS

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
CONDA_NAMES = {"torch": "pytorch"}  # others have the same name, in small letters
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def setup(section: str, option: str) -> list[str]:
    lines = SETUP[section][option].strip().splitlines()
    return [line.strip() for line in lines if not line.strip().startswith("#")]


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """As conda-build reads it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    template = environment.from_string((ROOT / "recipe" / "meta.yaml").read_text())
    text = template.render(PYTHON="python", pin_subpackage=lambda name, max_pin: f"{name} {max_pin}")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def as_conda(requirement: str) -> str:
    """`torch>=2.13,<3` as conda writes it, `pytorch >=2.13,<3`; a marker has no place there."""
    parsed = Requirement(requirement)
    assert parsed.marker is None
    name = parsed.name.lower()
    versions = requirement[len(parsed.name) :]
    return f"{CONDA_NAMES.get(name, name)} {versions}"


def test_the_recipe_has_the_dependencies_of_the_package(recipe: dict[str, Any]) -> None:
    python = f"python {setup('options', 'python_requires')[0]}"
    needed = [as_conda(line) for line in setup("options", "install_requires")]
    assert len(needed) > 15
    assert recipe["requirements"]["run"] == [python, *needed], "recipe/meta.yaml follows setup.cfg"
    assert python in recipe["requirements"]["host"]
    assert "python -m pip install . --no-deps" in recipe["build"]["script"]


def test_the_recipe_says_what_the_package_says(recipe: dict[str, Any]) -> None:
    assert recipe["package"]["name"] == SETUP["metadata"]["name"]
    assert recipe["package"]["version"] == kipoi_mcdropout.__version__
    assert recipe["about"]["summary"] == SETUP["metadata"]["description"]
    assert recipe["about"]["license"] == SETUP["metadata"]["license"]
    assert (ROOT / recipe["about"]["license_file"]).is_file()
    assert (ROOT / "recipe" / recipe["source"]["path"]).resolve() == ROOT
    assert recipe["build"]["entry_points"] == setup("options.entry_points", "console_scripts")
    assert recipe["build"]["run_exports"] == [f"{SETUP['metadata']['name']} x.x"]


def test_the_citation() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors"}  # of the Citation File Format 1.2.0
    assert required <= set(said)
    assert said["version"] == kipoi_mcdropout.__version__
    assert said["license"] == SETUP["metadata"]["license"]
    assert said["keywords"] == SETUP["metadata"]["keywords"].split(", ")
    assert said["authors"][0]["name"] in (ROOT / "LICENSE").read_text()


def dockerfile() -> list[list[str]]:
    """The words of each instruction."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line]


def test_the_image_has_what_packaging_reads() -> None:
    copied = {
        word for name, *words in dockerfile() if name == "COPY" and "--from=build" not in words
        for word in words[:-1]
    }  # fmt: skip
    assert copied == {*PACKAGING, "kipoi_mcdropout"}
    sent = (ROOT / ".dockerignore").read_text().split()
    assert sent[0] == "*"
    assert {word[1:] for word in sent if word[0] == "!"} == copied


def test_the_image_has_a_python_and_a_torch_that_fit_and_no_root() -> None:
    lines = dockerfile()
    images = {words[1] for words in lines if words[0] == "FROM"}
    (version,) = {re.fullmatch(r"python:(3\.\d+)-slim-\w+", image)[1] for image in images}  # type: ignore[index]
    assert f"Programming Language :: Python :: {version}" in setup("metadata", "classifiers")
    torch = next(w for words in lines for w in words if w.startswith("torch=="))
    assert torch in (ROOT / "constraints.txt").read_text().splitlines()
    assert [words[1] for words in lines if words[0] == "USER"][-1] not in ("root", "0")
    command = "".join(next(words[1:] for words in lines if words[0] == "CMD"))
    assert command == "[mcdropout,--help]"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_actions_of_a_workflow_are_pinned_and_may_do_little(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    assert said["permissions"] == {}
    uses = [step["uses"] for job in said["jobs"].values() for step in job["steps"] if "uses" in step]
    assert len(uses) >= 2
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in uses)
    assert len(re.findall(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", path.read_text(), re.M)) == len(uses)
    assert "secrets." not in path.read_text()


def test_only_the_job_that_publishes_gets_a_token() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]
    allowed = {name: set(job["permissions"].items()) for name, job in jobs.items()}
    assert allowed == {"build": {("contents", "read")}, "publish": {("id-token", "write")}}
    (action,) = (step for step in jobs["publish"]["steps"] if "pypi-publish" in step.get("uses", ""))
    assert "with" not in action  # no password


def test_the_workflow_tests_each_python_of_the_package() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    named = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    assert jobs["tests"]["strategy"]["matrix"]["python"] == named
    assert any("tests/run.py" in step.get("run", "") for step in jobs["tests"]["steps"])


def test_the_commands_for_assistants_exist() -> None:
    text = (ROOT / "AGENTS.md").read_text()
    found = re.findall(r"`mcdropout (\w+)([^`]*)`", text)
    assert len(found) >= 8
    for command, rest in found:
        if command != "COMMAND":
            assert command in COMMANDS
            words = shlex.split(rest)
            if words:
                parse(command, words)
    assert set(re.findall(r"`(effect_\w+)`", text)) <= {"effect_sd", "effect_mean", "effect_mcse"}


def parse(command: str, words: list[str]) -> None:
    module = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}")
    assert module.get_parser().parse_args(words) is not None


def test_the_python_for_assistants_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one region and two draws, to be quick."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "AGENTS.md").read_text(), re.DOTALL)
    monkeypatch.chdir(ROOT)
    regions = "example/data/regions.bed"
    one = tmp_path / "one.bed"
    one.write_text(Path(regions).read_text().splitlines(keepends=True)[0])
    for shown, quick in (("n_draws=30", "n_draws=2"), (regions, str(one))):
        assert shown in code
        code = code.replace(shown, quick)
    exec(code, {})
    assert "effect_mean" in capsys.readouterr().out
