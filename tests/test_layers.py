"""The layout of the design: a folder imports only from those below it; what each layer may need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from layers import LAYERS, LEVEL, PACKAGE, files, names_imported, picture, upward
from paths import ROOT

KIPOI = {"kipoi", "kipoi_interpret", "kipoi_utils", "kipoi_veff"}
WITHOUT_KIPOI = (
    "engine", "sequence", "dropout", "outputs", "arrays", "effects", "mr", "significance", "errors",
)  # fmt: skip


def test_every_file_has_its_place() -> None:
    assert {folder for folder, _ in files()} == set(LEVEL)
    assert len(list(files())) > 150


def test_folders_import_only_from_below() -> None:
    assert upward() == []


def test_the_statistics_and_the_engine_do_not_know_kipoi() -> None:
    wrong = [
        str(path.relative_to(PACKAGE))
        for folder, path in files()
        if folder in WITHOUT_KIPOI and KIPOI & {name.split(".")[0] for name in names_imported(path)}
    ]
    assert wrong == []


def test_the_engine_needs_torch_and_numpy_alone() -> None:
    needed = {
        name.split(".")[0]
        for folder, path in files()
        if folder in ("engine", "sequence", "dropout", "outputs", "arrays", "errors")
        and path.name != "bed.py"  # no engine reads regions
        for name in names_imported(path)
    }
    assert needed - sys.stdlib_module_names - {PACKAGE.name} == {"numpy", "torch"}


def printed_by(code: str) -> str:
    """What a program prints in an interpreter of its own."""
    environment = {**os.environ, "KIPOI_MCDROPOUT_DISABLE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    ).stdout


def modules(folder: str) -> list[str]:
    """Names of the modules directly in a folder of the package."""
    return sorted(path.stem for path in (PACKAGE / folder).glob("*.py") if path.stem != "__init__")


def test_mr_needs_four_packages_alone() -> None:
    needed = {
        name.split(".")[0]
        for folder, path in files()
        if folder == "mr"
        for name in names_imported(path)
    }
    assert needed - sys.stdlib_module_names - {PACKAGE.name} == {
        "numpy", "pandas", "scipy", "statsmodels",
    }  # fmt: skip


STATISTICS = [
    "mr",
    *(f"significance.{name}" for name in modules("significance")),
    *(f"effects.{name}" for name in ("draws_enough", "rounding", "row_identity", "score_names", "z")),
]


@pytest.mark.parametrize(
    ("parts", "without"),
    [
        (STATISTICS, {"torch", *KIPOI}),
        (["engine", "engine.explain", *(f"effects.{name}" for name in modules("effects"))], KIPOI),
    ],
)
def test_what_a_part_loads(parts: list[str], without: set[str]) -> None:
    lines = [f"import kipoi_mcdropout.{part}" for part in parts]
    code = "\n".join([*lines, "import sys", f"print(*sorted({without!r} & set(sys.modules)))"])
    assert printed_by(code).split() == []


def test_the_engine_runs_where_there_is_no_kipoi() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(KIPOI)}))  # importing one of them is an ImportError
import numpy as np, torch
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Engines, Job
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

net = torch.nn.Sequential(
    torch.nn.Conv1d(4, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Dropout(),
    torch.nn.Linear(54, 2),
)
x = np.zeros((1, 4, 20), np.float32)
x[0, 0] = 1
model, layout = LockedModel(net), OneHotLayout.of(x)
engines, batch = Engines(model, MaskBank(0)), example_batch(x, None, layout)
with model.borrow():
    print(engines.choose(x, None, layout, Job(60, 30)).engine)
    for name in ("full", "incremental"):
        alt = torch.cat([block.alt for block in engines.get(name).run(batch, [0, 1])])
        print(tuple(alt.shape))
"""
    assert printed_by(code).splitlines()[1:] == ["(2, 8, 2)", "(2, 8, 2)"]


def test_the_picture_in_the_documentation_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "how_it_is_built.md").read_text("utf-8")
    assert f"```mermaid\n{picture()}\n```" in page, "run: python docs/_ext/draw_layers.py"


def test_the_table_of_questions_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "how_it_is_built.md").read_text("utf-8")
    for layer in LAYERS:
        for folder in layer.folders:
            assert f"`{folder}" in page
