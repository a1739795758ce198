"""Registration with stock Kipoi, in the environment in which the package is installed.

What Kipoi sees is asked of a fresh interpreter each time: registration happens on import.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.plugin.commands import InterpretCommand, split_method
from kipoi_mcdropout.plugin.hook import DISABLE_VARIABLE
from kipoi_mcdropout.plugin.manifest import ManifestError, load_manifest, manifest_path

NAME = "kipoi_mcdropout"
METHOD = "mcdropout_ism"


@functools.cache  # the same question has the same answer
def python(*arguments: str, off: bool = False) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, DISABLE_VARIABLE: "1" if off else "0"}
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, check=False
    )


def evaluate(code: str, off: bool = False) -> Any:
    """Run `code`, which must leave its result in `answer`, in a fresh interpreter."""
    done = python("-W", "ignore", "-c", f"import json\n{code}\nprint(json.dumps(answer))", off=off)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def kipoi(*arguments: str, off: bool = False) -> subprocess.CompletedProcess[str]:
    return python("-W", "ignore", "-m", "kipoi", *arguments, off=off)


# ---------------------------------------------------------------- what Kipoi sees


def test_list_plugins_has_the_row_of_the_manifest() -> None:
    rows = evaluate("import kipoi; answer = kipoi.list_plugins().to_dict('records')")
    manifest = load_manifest()
    assert {
        "plugin": manifest.name,
        "installed": True,
        "cli": True,
        "description": manifest.description,
        "url": manifest.url,
    } in rows
    assert [row["plugin"] for row in rows] == ["kipoi_interpret", NAME]


def test_the_command_line_lists_the_plugin() -> None:
    assert NAME in kipoi("list_plugins").stdout
    assert "mcdropout" in kipoi("--help").stdout


def test_kipoi_mcdropout_is_the_command_line_of_the_package() -> None:
    done = kipoi("mcdropout", "--help")
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def test_the_scorer_is_a_method_of_kipoi_interpret() -> None:
    answer = evaluate(
        "from kipoi_interpret.importance_scores import available_methods, get_importance_score\n"
        "from kipoi_interpret.importance_scores.ism import Mutation\n"
        f"scorer = get_importance_score('{METHOD}')\n"
        f"answer = [available_methods()['{METHOD}'] is scorer, issubclass(scorer, Mutation),\n"
        "           scorer is not Mutation, scorer.__module__, scorer.__name__]"
    )
    assert answer == [True, True, True, f"{NAME}.plugin.mutation", "MCDropoutISM"]


def test_the_methods_of_kipoi_interpret_are_still_there() -> None:
    methods = (
        "from kipoi_interpret.importance_scores import available_methods\n"
        "answer = sorted(available_methods())"
    )
    assert set(evaluate(methods)) == {*evaluate(methods, off=True), METHOD}


def test_interpret_lists_ism_and_feature_importance() -> None:
    done = kipoi("interpret", "--help")
    assert done.returncode == 0
    for word in ("ism ", "feature_importance", "grad", "deeplift", METHOD):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["ism", "feature_importance"])
def test_our_method_is_run_by_our_command(command: str) -> None:
    done = kipoi("interpret", command, "--method", METHOD, "--help")
    assert done.returncode == 0, done.stderr
    assert "--n_draws" in done.stdout


def test_feature_importance_takes_the_name_that_kipoi_interpret_gave_the_option() -> None:
    done = kipoi("interpret", "feature_importance", f"--imp_score={METHOD}", "--help")
    assert done.returncode == 0, done.stderr
    assert "--n_draws" in done.stdout


@pytest.mark.parametrize("words", [[], ["--method", "mutation"], ["--method=mutation"]])
def test_mutation_is_run_by_the_original_command(words: list[str]) -> None:
    arguments = ["interpret", "ism", *words, "--model_input", "seq"]
    ours, stock = kipoi(*arguments), kipoi("interpret", "ism", "--model_input", "seq", off=True)
    assert (ours.returncode, ours.stdout, ours.stderr) == (2, stock.stdout, stock.stderr)
    assert "usage: kipoi interpret ism" in ours.stderr


@pytest.mark.parametrize("command", ["ism", "feature_importance"])
def test_an_unknown_method_is_refused_by_name(command: str) -> None:
    done = kipoi("interpret", command, "model", "--method", "nonsense", "-o", "x.h5")
    assert done.returncode == 2
    assert "'nonsense'" in done.stderr
    assert METHOD in done.stderr
    assert "Traceback" not in done.stderr


def test_grad_is_the_original() -> None:
    code = (
        "from kipoi_interpret import cli\n"
        "answer = cli.command_functions['grad'] is cli.cli_grad "
        "and cli.command_functions['deeplift'] is cli.cli_deeplift"
    )
    assert evaluate(code) is True


# ---------------------------------------------------------------- what it costs


def test_the_start_up_file_imports_nothing() -> None:
    modules = "import sys; answer = sorted(sys.modules)"
    assert evaluate(modules) == evaluate(modules, off=True)


@pytest.mark.parametrize("code", ["import kipoi.__main__", "import kipoi_interpret"])
def test_kipoi_does_not_import_torch_because_of_us(code: str) -> None:
    imported = f"{code}\nimport sys; answer = sorted({{m.split('.')[0] for m in sys.modules}})"
    ours = set(evaluate(imported))
    assert NAME in ours
    assert "torch" not in ours
    heavy = {"scipy", "statsmodels", "pyarrow", "matplotlib", "sklearn", "cyvcf2", "distributed"}
    assert not (ours - set(evaluate(imported, off=True))) & heavy


def test_other_modules_are_found_without_our_package() -> None:
    assert evaluate(f"import email.mime.text, sys; answer = '{NAME}' in sys.modules") is False


# ---------------------------------------------------------------- off, late, twice, broken


def test_the_off_switch() -> None:
    code = (
        "import sys, kipoi, kipoi_interpret.cli as cli\n"
        "from kipoi_interpret.importance_scores import available_methods\n"
        "answer = [[p['plugin'] for p in kipoi.plugin.PLUGINS], sorted(cli.command_functions),\n"
        f"          '{METHOD}' in available_methods(), '{NAME}' in sys.modules]"
    )
    assert evaluate(code, off=True) == [
        ["kipoi_interpret"],
        ["deeplift", "grad", "ism"],
        False,
        False,
    ]


def test_the_off_switch_holds_after_the_start_too() -> None:
    code = (
        f"import os; os.environ['{DISABLE_VARIABLE}'] = '1'\n"
        "import kipoi; answer = [p['plugin'] for p in kipoi.plugin.PLUGINS]"
    )
    assert evaluate(code) == ["kipoi_interpret"]


CHECKOUT = (
    f"import os; del os.environ['{DISABLE_VARIABLE}']\n"  # started switched off: nothing is armed
    "from kipoi_mcdropout.plugin import register\n"
)
STATE = (
    "import kipoi, kipoi_interpret.cli as cli\n"
    "from kipoi_interpret.importance_scores import available_methods\n"
    "answer = [[p['plugin'] for p in kipoi.plugin.PLUGINS], sorted(cli.command_functions),\n"
    f"          '{METHOD}' in available_methods()]"
)
REGISTERED = [["kipoi_interpret", NAME], ["deeplift", "feature_importance", "grad", "ism"], True]


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"{CHECKOUT}register()\n{STATE}", id="before"),
        pytest.param(f"{CHECKOUT}import kipoi, kipoi_interpret\nregister()\n{STATE}", id="after"),
        pytest.param(f"{CHECKOUT}import kipoi\nregister()\n{STATE}", id="between"),
        pytest.param(f"{CHECKOUT}register()\n{STATE}\nregister()\n{STATE}", id="twice"),
    ],
)
def test_register_from_a_checkout(code: str) -> None:
    assert evaluate(code, off=True) == REGISTERED


def test_registration_is_not_repeated_and_leaves_the_loader_as_it_was() -> None:
    code = (
        f"from kipoi_mcdropout.plugin import register\nregister()\n{STATE}\n"
        "import importlib, kipoi.plugin as plugin\n"
        "importlib.reload(plugin); importlib.reload(cli); register()\n"
        "loaders = [vars(m.__spec__.loader) for m in (plugin, cli)]\n"
        "original = cli.command_functions['ism'].original\n"
        "answer = [[p['plugin'] for p in plugin.PLUGINS], original is cli.cli_ism,\n"
        "          any('exec_module' in loader for loader in loaders)]"
    )
    assert evaluate(code) == [["kipoi_interpret", NAME], True, False]


@pytest.mark.parametrize(
    "module",
    ["kipoi_mcdropout.plugin.hook", "kipoi_mcdropout.plugin.registration", "kipoi_mcdropout"],
)
def test_a_broken_package_is_a_warning_and_kipoi_works(module: str) -> None:
    code = (
        f"import sys, warnings; sys.modules['{module}'] = None\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import kipoi, kipoi.__main__, kipoi_interpret.cli\n"
        "ours = [str(w.message) for w in caught if w.category is RuntimeWarning]\n"
        "answer = [[p['plugin'] for p in kipoi.plugin.PLUGINS], ours]"
    )
    plugins, messages = evaluate(code)
    assert plugins == ["kipoi_interpret"]
    assert messages
    assert all("is not registered with" in message for message in messages)
    assert all(module in message for message in messages)


def test_a_package_without_command_line_is_not_offered_to_kipoi() -> None:
    code = (
        "import sys, types, warnings\n"
        "import kipoi_mcdropout.plugin.registration, kipoi_mcdropout.plugin.manifest\n"
        f"empty = types.ModuleType('{NAME}'); empty.__path__ = sys.modules['{NAME}'].__path__\n"
        f"sys.modules['{NAME}'] = empty\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import kipoi.__main__\n"
        "answer = [[p['plugin'] for p in kipoi.plugin.PLUGINS],\n"
        "          any('cli_main' in str(w.message) for w in caught)]"
    )
    assert evaluate(code) == [["kipoi_interpret"], True]


# ---------------------------------------------------------------- the manifest


def test_the_manifest_of_the_repository_is_the_one_used() -> None:
    manifest = load_manifest()
    assert manifest_path().name == "kipoi_plugin.yaml"
    assert (manifest.name, manifest.module, manifest.command) == (NAME, NAME, "mcdropout")
    methods = [(m.name, m.class_path) for m in manifest.methods]
    assert methods == [(METHOD, f"{NAME}.plugin.mutation:MCDropoutISM")]
    assert [c.name for c in manifest.interpret_commands] == ["ism", "feature_importance"]


def test_the_manifest_drives_the_registration(tmp_path: Path) -> None:
    other = tmp_path / "kipoi_plugin.yaml"
    text = manifest_path().read_text(encoding="utf-8")
    other.write_text(
        text.replace(f"name: {METHOD}", "name: another_name").replace(
            "description: V", "description: W"
        ),
        encoding="utf-8",
    )
    code = (
        "import pathlib\nfrom kipoi_mcdropout.plugin import manifest\n"
        f"manifest.manifest_path = lambda: pathlib.Path({str(other)!r})\n"
        "import kipoi\nfrom kipoi_interpret.importance_scores import available_methods\n"
        "answer = ['another_name' in available_methods(), kipoi.plugin.PLUGINS[-1]['description']]"
    )
    registered, description = evaluate(code)
    assert registered is True
    assert description.startswith("W")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name: kipoi_mcdropout\n", "module"),
        ("[]", "required key"),
        ("", "required key"),
    ],
)
def test_an_incomplete_manifest_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "kipoi_plugin.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=named):
        load_manifest(path)


@pytest.mark.parametrize("wrong", ["command: mcdrop", "module: something", "name: kipoi_other"])
def test_a_manifest_whose_names_kipoi_would_not_find_is_refused(tmp_path: Path, wrong: str) -> None:
    key = wrong.partition(":")[0]
    lines = manifest_path().read_text(encoding="utf-8").splitlines()
    path = tmp_path / "kipoi_plugin.yaml"
    path.write_text(
        "\n".join(wrong if line.startswith(f"{key}:") else line for line in lines), encoding="utf-8"
    )
    with pytest.raises(ManifestError, match="name must equal module"):
        load_manifest(path)


# ---------------------------------------------------------------- --method


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (None, [])),
        (["--method", "a"], ("a", [])),
        (["--method=a"], ("a", [])),
        (["--method=a=b"], ("a=b", [])),
        (["--method", "a", "--method=b"], ("b", [])),
        (["--method"], ("", [])),
        (["m", "--method", "a", "-o", "x"], ("a", ["m", "-o", "x"])),
        (["--methods", "a"], (None, ["--methods", "a"])),
        (["x=--method", "a"], (None, ["x=--method", "a"])),
    ],
)
def test_split_method(arguments: list[str], expected: tuple[str | None, list[str]]) -> None:
    assert split_method(arguments, ["--method"]) == expected


@given(
    words=st.lists(st.text(max_size=5).filter(lambda word: not word.startswith("--m"))),
    method=st.text(max_size=5),
    at=st.integers(0, 5),
    joined=st.booleans(),
)
def test_split_method_takes_out_what_was_put_in(
    words: list[str], method: str, at: int, joined: bool
) -> None:
    flag = [f"--method={method}"] if joined else ["--method", method]
    assert split_method([*words[:at], *flag, *words[at:]], ["--method"]) == (method, words)


class Recorder:
    """A command that keeps how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def __call__(self, command: str, raw_args: list[str]) -> None:
        self.calls.append((command, raw_args))


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> tuple[Recorder, Recorder]:
    ours, original = Recorder(), Recorder()
    monkeypatch.setattr(sys.modules[__name__], "served_by_us", ours, raising=False)
    return ours, original


def test_dispatch(recorders: tuple[Recorder, Recorder]) -> None:
    ours, original = recorders
    command = InterpretCommand(f"{__name__}:served_by_us", (METHOD,), original)
    command("ism", ["m", "--method", METHOD, "-o", "x.h5"])
    assert (ours.calls, original.calls) == ([("ism", ["m", "--method", METHOD, "-o", "x.h5"])], [])
    command("ism", ["m", "--method", "mutation", "-o", "x.h5"])
    command("ism", ["m", "-o", "x.h5"])
    assert len(ours.calls) == 1
    assert original.calls == [("ism", ["m", "-o", "x.h5"])] * 2


def test_help_of_the_original_names_the_other_method(
    recorders: tuple[Recorder, Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    ours, original = recorders
    InterpretCommand(f"{__name__}:served_by_us", (METHOD,), original)("ism", ["--help"])
    assert (ours.calls, original.calls) == ([], [("ism", ["--help"])])
    assert f"--method {METHOD}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--imp_score", "saliency"], ["--method=mutation"]])
def test_feature_importance_without_an_original(
    recorders: tuple[Recorder, Recorder], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    command = InterpretCommand(f"{__name__}:served_by_us", (METHOD,), None)
    with pytest.raises(SystemExit) as stop:
        command("feature_importance", ["m", *words])
    assert stop.value.code == 2
    assert METHOD in capsys.readouterr().err
    command("feature_importance", ["m", "--imp_score", METHOD])
    command("feature_importance", ["--help"])
    assert [arguments for _, arguments in recorders[0].calls] == [
        ["m", "--imp_score", METHOD],
        ["--help"],
    ]
