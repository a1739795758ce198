"""The built wheel and the editable install, each in a clean virtual environment.

An environment here has no package of its own but ours. Kipoi is lent by a line with the path of
the packages of the test environment; Python does not run the start-up files of a folder added by
such a line, so what registers with Kipoi is what was installed here.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import ExceptionGroup, Metadata
from paths import PACKAGING, ROOT

from kipoi_mcdropout.plugin.hook import DISABLE_VARIABLE
from kipoi_mcdropout.plugin.manifest import manifest_path

NAME = "kipoi_mcdropout"
START_UP = "kipoi_mcdropout.pth"
MANIFEST = "kipoi_plugin.yaml"
STATE = """
import kipoi, kipoi_interpret.cli, sys
from kipoi_interpret.importance_scores import available_methods
print([[p['plugin'] for p in kipoi.plugin.PLUGINS], 'mcdropout_ism' in available_methods(),
       'feature_importance' in kipoi_interpret.cli.command_functions, 'torch' in sys.modules])
"""
REGISTERED = [["kipoi_interpret", NAME], True, True, False]
NOT_REGISTERED = [["kipoi_interpret"], False, False, False]


def checked(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Environment:
    """A virtual environment without pip; the pip of the test environment installs into it."""

    def __init__(self, folder: Path, lend_packages: bool = True) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = str(folder / "venv" / scripts / "python")
        self.packages = Path(self.evaluate("__import__('sysconfig').get_path('purelib')"))
        assert self.packages.is_relative_to(folder)
        if lend_packages:
            lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
            (self.packages / "zz_lent.pth").write_text("\n".join(sorted(lent)) + "\n")

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key != DISABLE_VARIABLE}
        command = [self.python, "-W", "ignore", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env={**env, **variables}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    def evaluate(self, expression: str, *options: str, **variables: str) -> object:
        return self.execute(f"print(repr({expression}))", *options, **variables)

    def execute(self, code: str, *options: str, **variables: str) -> object:
        done = self.run(*options, "-c", code, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return ast.literal_eval(done.stdout)

    def install(self, *arguments: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        checked(*pip, "install", "--no-deps", "--no-index", "--no-build-isolation", *arguments)

    def uninstall(self) -> None:
        checked(sys.executable, "-m", "pip", "--python", self.python, "uninstall", "-y", NAME)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.packages)) for path in self.packages.rglob("*")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what packaging reads, so that building leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in PACKAGING:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / NAME, folder / NAME, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def distributions(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source distribution made from the checkout, and the wheel made from that."""
    folder = tmp_path_factory.mktemp("dist")
    checked(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=checkout
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("wheel"))
    environment.install(str(wheel))
    return environment


def test_the_wheel_holds_the_package_and_the_two_files_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        NAME,
        START_UP,
    }
    assert f"{NAME}/{MANIFEST}" in names
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / NAME).rglob("*.py")}
    assert sources <= set(names)
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / NAME / "cli" / "project").glob("*.*")}
    assert len(templates) >= 7
    assert templates <= set(names)


def test_the_metadata_are_those_that_pypi_takes(distributions: Path, wheel: Path) -> None:
    """The rules of the packaging standards; where twine is installed, its own check too."""
    (source,) = distributions.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        (name,) = (m for m in archive.getnames() if m.count("/") == 1 and m.endswith("/PKG-INFO"))
        file = archive.extractfile(name)
        assert file is not None
        of_source = file.read()
    with zipfile.ZipFile(wheel) as archive_of_wheel:
        (name,) = (n for n in archive_of_wheel.namelist() if n.endswith(".dist-info/METADATA"))
        of_wheel = archive_of_wheel.read(name)
    for text in (of_source, of_wheel):
        metadata = Metadata.from_email(text, validate=True)
        assert metadata.name == NAME
        assert metadata.description == (ROOT / "README.md").read_text()
        assert metadata.description_content_type == "text/markdown"
    wrong = re.sub(rb"(?m)^Requires-Python: .*$", b"Requires-Python: 3+", of_wheel, count=1)
    with pytest.raises(ExceptionGroup):
        Metadata.from_email(wrong, validate=True)
    if importlib.util.find_spec("twine") is not None:
        files = [str(path) for path in (source, wheel)]
        checked(sys.executable, "-m", "twine", "check", "--strict", *files)


def test_the_wheel_is_what_is_imported(installed: Environment) -> None:
    found = installed.evaluate("__import__('kipoi_mcdropout').__file__")
    assert str(found) == str(installed.packages / NAME / "__init__.py")
    manifest = installed.execute(
        "from kipoi_mcdropout.plugin.manifest import manifest_path as p; print(repr(str(p())))"
    )
    assert manifest == str(installed.packages / NAME / MANIFEST)
    assert Path(manifest).read_bytes() == manifest_path().read_bytes()


def test_the_wheel_registers(installed: Environment) -> None:
    assert installed.execute(STATE) == REGISTERED


def test_the_command_line_of_kipoi_shows_the_plugin(installed: Environment) -> None:
    done = installed.run("-m", "kipoi", "list_plugins")
    assert done.returncode == 0
    assert NAME in done.stdout
    assert "mcdropout" in installed.run("-m", "kipoi", "--help").stdout


def test_the_wheel_registers_in_isolated_mode(installed: Environment) -> None:
    assert installed.execute(STATE, "-I") == REGISTERED


@pytest.mark.parametrize(("value", "off"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_off_switch(installed: Environment, value: str, off: bool) -> None:
    state = installed.execute(STATE, **{DISABLE_VARIABLE: value})
    assert state == (NOT_REGISTERED if off else REGISTERED)


def test_the_start_up_file_adds_a_finder_and_no_module(installed: Environment) -> None:
    modules = "sorted(__import__('sys').modules)"
    finders = "len(__import__('sys').meta_path)"
    off = {DISABLE_VARIABLE: "1"}
    assert installed.evaluate(modules) == installed.evaluate(modules, **off)
    assert installed.evaluate(finders) == int(str(installed.evaluate(finders, **off))) + 1


def test_without_site_packages_there_is_nothing_to_start(installed: Environment) -> None:
    assert installed.evaluate("len(__import__('sys').meta_path)", "-S") == 3


def test_without_kipoi_nothing_happens(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path, lend_packages=False)
    environment.install(str(wheel))
    assert environment.evaluate("'kipoi_mcdropout' in __import__('sys').modules") is False
    done = environment.run("-c", "import kipoi")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'kipoi'"


def test_uninstalling_the_wheel_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    before = environment.files()
    environment.install(str(wheel))
    assert environment.execute(STATE) == REGISTERED
    assert environment.files() > before
    environment.uninstall()
    assert environment.files() == before
    assert environment.execute(STATE) == NOT_REGISTERED


def test_the_editable_install_registers_from_the_checkout(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    environment = Environment(tmp_path / "environment")
    before = environment.files()
    environment.install("--editable", str(copy))
    assert environment.execute(STATE) == REGISTERED
    found = environment.evaluate("__import__('kipoi_mcdropout').__file__")
    assert str(found) == str(copy / NAME / "__init__.py")

    manifest = copy / MANIFEST  # an edit shows at once, without a new install
    manifest.write_text(manifest.read_text().replace("name: mcdropout_ism", "name: edited"))
    names = "sorted(__import__('kipoi_interpret.importance_scores').importance_scores"
    assert "edited" in str(environment.evaluate(f"{names}.available_methods())"))

    environment.uninstall()
    assert environment.files() == before


def test_a_checkout_that_is_gone_does_not_break_python_or_kipoi(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    environment = Environment(tmp_path / "environment")
    environment.install("--editable", str(copy))
    shutil.rmtree(copy)
    (environment.packages / NAME).mkdir()  # hides a package of this name among the lent ones
    (environment.packages / NAME / "__init__.py").touch()
    assert environment.evaluate("1 + 1") == 2
    assert environment.execute(STATE) == NOT_REGISTERED
    done = environment.run("-W", "default::RuntimeWarning", "-c", "import kipoi")
    assert done.returncode == 0
    assert "kipoi_mcdropout is not registered with Kipoi" in done.stderr
