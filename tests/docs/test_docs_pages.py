"""The pages build without a warning, and those that list codes list them all."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from page_runner import without_coverage
from paths import ROOT

from kipoi_mcdropout import errors
from kipoi_mcdropout.cli import COMMANDS
from kipoi_mcdropout.mr import diagnose as diagnose_function
from kipoi_mcdropout.mr.groups.answer import Kind
from kipoi_mcdropout.mr.pairs import selection
from kipoi_mcdropout.mr.pairs.table import REPEATED
from kipoi_mcdropout.significance import cautions, evaluation_words
from kipoi_mcdropout.vcf.place.placement import FLAGS
from kipoi_mcdropout.vcf.read.alleles import REASONS

DOCS = ROOT / "docs"
MESSAGES = (DOCS / "messages.md").read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'kipoi_mcdropout[docs]'")
    folder = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-b", "html", "-d"]
    done = subprocess.run(
        [*command, str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        env=without_coverage(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_the_command_line_reference_has_every_option(built: Path) -> None:
    text = (built / "reference" / "command_line.html").read_text()
    for command in COMMANDS:
        assert f"kipoi mcdropout {command}" in text
        parser = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}").get_parser()
        for action in parser._actions:
            assert all(option in text for option in action.option_strings)


def test_the_python_reference_has_the_public_names(built: Path) -> None:
    import kipoi_mcdropout
    from kipoi_mcdropout import mr

    text = (built / "reference" / "python.html").read_text()
    names = {*kipoi_mcdropout.__all__, *mr.__all__, "read_effects", "score_variants"}
    missing = {name for name in names - {"cli_main"} if f">{name}<" not in text}
    constants = {"CONVENTIONS", "METHODS", "NOT_OFFERED", "R_EQUIVALENTS", "R_MULTIVARIABLE"}
    assert missing <= {*constants, "Convention"}


def _listed(heading: str) -> set[str]:
    """Codes in the first column of the tables of a section."""
    section = re.split(r"^## ", MESSAGES, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {code for row in rows for code in re.findall(r"`?([\w]+)`?", row)} - {"code", "reason"}


def test_exit_codes() -> None:
    codes = {str(value) for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert len(codes) >= 5
    assert codes <= _listed("Exit codes")


def test_error_classes() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes - {name for name in classes if f"`{name}`" in MESSAGES} == {"McDropoutError"}


def test_reasons_of_the_ledger() -> None:
    assert _listed("Why an allele is skipped") == set(REASONS)
    assert all(f"`{flag}`" in MESSAGES for flag in FLAGS)


def test_warnings_of_mendelian_randomization() -> None:
    source = Path(sys.modules[diagnose_function.__module__].__file__ or "").read_text()
    codes = set(re.findall(r"Diagnosis\(\s*\"(\w+)\"", source))
    assert len(codes) >= 10
    assert _listed("Warnings of Mendelian randomization") == codes


def test_answers_of_mendelian_randomization() -> None:
    assert _listed("Answers of Mendelian randomization") == set(get_args(Kind))


def test_reasons_of_the_selection() -> None:
    source = Path(selection.__file__).read_text()
    steps = set(re.findall(r"steps\[\"(\w+)\"\]", source))
    assert len(steps) >= 5
    sides = {f"zero_variance_{side}" for side in ("exposure", "outcome")}
    assert _listed("Selection of instruments") == steps | sides | {REPEATED}


def test_warnings_of_calibrate() -> None:
    source = Path(cautions.__file__).read_text()
    codes = set(re.findall(r"Caution\(\s*\"(\w+)\"", source))
    assert len(codes) >= 3
    assert _listed("Warnings of calibrate") == codes


def test_warnings_of_evaluate() -> None:
    source = Path(evaluation_words.__file__).read_text()
    codes = set(re.findall(r"Caution\(\s*\"(\w+)\"", source))
    assert len(codes) >= 6
    assert _listed("Warnings of evaluate") == codes == set(evaluation_words.WARNING_WORDS)


def test_every_page_is_in_the_index() -> None:
    """Sphinx warns of a page that is in no toctree; this says it without Sphinx."""
    index = (DOCS / "index.md").read_text()
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in DOCS.rglob("*.md")}
    pages = {page for page in pages if not page.startswith("_build")}
    assert pages - {"index"} == set(re.findall(r"^([\w/]+)$", index, flags=re.MULTILINE))


def test_no_placeholder_is_left() -> None:
    for page in DOCS.rglob("*.md"):
        if "_build" not in page.parts:
            assert not re.search(r"^[A-Z]{5,}(-[A-Z]+)?$", page.read_text(), flags=re.MULTILINE), page
