"""The summary for MultiQC has the numbers of the run, and MultiQC shows it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from report_world import N_DRAWS, effects, record_of, write_parquet

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.reports.multiqc import write_multiqc


def data(path: Path) -> dict[str, Any]:
    section: dict[str, Any] = json.loads(path.read_text())
    assert section["pconfig"]["id"].startswith(section["id"])
    found: dict[str, Any] = section["data"]
    return found


def test_of_a_vcf(results: Path, tmp_path: Path) -> None:
    files = [str(results / name) for name in ("variants.parquet", "skipped.tsv")]
    cli_main("mcdropout", ["multiqc", *files, "-o", str(tmp_path / "v_mqc.json"), "--quiet"])
    ledger = read_provenance(results / "variants.parquet")["ledger"]
    row = data(tmp_path / "v_mqc.json")["variants"]
    assert row["scored"] == ledger["scored"] == 3
    assert row["skipped"] == sum(ledger["skipped"].values()) == 3
    assert row["draws"] == N_DRAWS
    assert row["sd_error"] == pytest.approx(100 / (2 * (N_DRAWS - 1)) ** 0.5, abs=0.01)
    assert row["warnings"] >= 1
    assert data(tmp_path / "v_ledger_mqc.json") == {"variants": {"scored": 3, **ledger["skipped"]}}


def test_of_mutagenesis(results: Path, tmp_path: Path) -> None:
    (path,) = write_multiqc([results / "ism.h5"], tmp_path / "i_mqc.json", sample="my run")
    row = data(path)["my run"]
    assert "skipped" not in row
    assert (row["scored"], row["failed"], row["outputs"]) == ((3 * 24 - 2) * 3, 0, 3)
    assert set(row) <= set(json.loads(path.read_text())["headers"])


def test_numbers_that_a_run_may_have(tmp_path: Path) -> None:
    """Effects that are within 2 mcse of 0 or no number, and the error of a coarser type."""
    nan = float("nan")
    table = effects([0.5, 0.001, nan, 0.4], [0.1, 0.1, nan, 0.1], n_draws=30)
    record = record_of(30, dtype_check={"output_error": 0.004})
    written = write_parquet(tmp_path / "a.parquet", table, record)
    (path,) = write_multiqc([written], tmp_path / "a_mqc.json")
    row = data(path)["a"]
    assert (row["not_finite"], row["dtype_error"]) == (1, 0.004)
    assert row["unsettled"] == pytest.approx(100 / 3, abs=0.01)


def test_what_is_refused(results: Path, mr_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in _mqc\.json.*a_mqc\.json"):
        write_multiqc([results / "ism.h5"], tmp_path / "a.json")
    with pytest.raises(InputError, match="needs the result of `ism`"):
        write_multiqc([mr_folder], tmp_path / "a_mqc.json")
    (tmp_path / "b_ledger_mqc.json").write_text("")
    with pytest.raises(OutputError, match="exists"):
        write_multiqc([results / "variants.parquet"], tmp_path / "b_mqc.json")
    assert not (tmp_path / "b_mqc.json").exists()
    write_multiqc([results / "variants.parquet"], tmp_path / "b_mqc.json", overwrite=True)


def test_multiqc_shows_it(results: Path, tmp_path: Path) -> None:
    command = os.environ.get("KIPOI_MCDROPOUT_MULTIQC") or shutil.which("multiqc")
    if not command:
        pytest.skip("no multiqc on the PATH, nor named by KIPOI_MCDROPOUT_MULTIQC")
    folder = tmp_path / "qc"
    folder.mkdir()
    for name in ("first", "second"):
        write_multiqc([results / "variants.parquet"], folder / f"{name}_mqc.json", sample=name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [command, "--outdir", str(tmp_path / "out"), "--strict", str(folder)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / "out" / "multiqc_report.html").read_text()
    assert "kipoi_mcdropout: alleles" in report
    for name, column in (("table", "draws"), ("ledger_plot", "symbolic")):
        shown = tmp_path / "out" / "multiqc_data" / f"multiqc_kipoi_mcdropout_{name}.txt"
        with shown.open() as lines:
            rows = {row["Sample"]: row for row in csv.DictReader(lines, delimiter="\t")}
        assert set(rows) == {"first", "second"}
        assert float(rows["first"][column]) == (N_DRAWS if column == "draws" else 1)
