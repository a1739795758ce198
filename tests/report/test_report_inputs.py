"""Each file is told by what is in it; what cannot be shown ends with exit code 2 and no report."""

from __future__ import annotations

import gzip
import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest
from report_world import effects, record_of, write_parquet

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files.atomic import write_tsv
from kipoi_mcdropout.reports import gather, render, write_report
from kipoi_mcdropout.reports.inputs import find_inputs


def test_kinds_are_told_by_provenance_and_columns(results: Path, mr_folder: Path) -> None:
    for name, kind in (("ism.h5", "ism"), ("ism.parquet", "ism"), ("ism.tsv", "ism")):
        found = find_inputs([results / name])
        assert found.effects is not None
        assert found.effects.kind == kind
        assert found.effects.record["n_draws"] == 12
    found = find_inputs([results / "skipped.tsv", results / "variants.parquet", mr_folder])
    assert found.effects is not None
    assert found.effects.kind == "variants"
    assert sorted(found.tables) == ["across_sequences", "estimates", "leave_one_out", "skipped"]


def test_a_renamed_file_is_what_it_was(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "mr.tsv.gz"
    path.write_bytes(gzip.compress((results / "ism.tsv").read_bytes()))
    found = find_inputs([path])
    assert found.effects is not None
    assert found.effects.kind == "ism"


def test_exported_folders_are_read_with_those_below_for_each_outcome(
    results: Path, mr_folder: Path, tmp_path: Path
) -> None:
    words = ["export_mr", str(results / "ism.h5"), "--exposure", "FOXA2", "--outcome", "DNase", "FOXA1"]
    cli_main("mcdropout", [*words, "--score", "diff", "--top_n", "30", "-o", str(tmp_path / "out")])
    found = find_inputs([tmp_path / "out", mr_folder])
    assert len(found.tables["instruments"]) == 2
    assert found.rows("instruments").groupby("outcome").size().gt(30).all()


def test_messages_in_the_record_of_a_table_of_mr_are_shown(mr_folder: Path, tmp_path: Path) -> None:

    table = pd.read_table(mr_folder / "mr.tsv", skiprows=1)
    code = table["warnings"].iloc[0].split(";")[0]
    record = {"warnings": [["FOXA2", "DNase", code, "In full."]]}
    write_tsv(table, tmp_path / "mr.tsv", provenance=record)
    assert (code, "In full.") in gather([tmp_path / "mr.tsv"]).mr[0].warnings


def test_failed_sequences_beside_a_result_are_said(tmp_path: Path) -> None:

    path = write_parquet(tmp_path / "a.parquet", effects([0.1], [0.1]), record_of())
    assert [c.title for c in gather([path]).cautions] == []
    failed = tmp_path / "a.parquet.failed.tsv"
    failed.write_text("sequence\tname\treason\n3\t<i>s3</i>\tout of memory\n")
    for paths in ([path], [path, failed], [failed, path]):
        facts = gather(paths)
        assert [c.title for c in facts.cautions] == ["1 sequence failed"]
        assert facts.ledger is not None
        assert list(facts.ledger.failed["name"]) == ["<i>s3</i>"]
    assert "&lt;i&gt;s3&lt;/i&gt;" in render(facts, figures=False)
    with pytest.raises(InputError, match="ism"):
        find_inputs([failed])


def bad_text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello\n")
    return folder / "notes.txt"


def bad_table(folder: Path) -> Path:
    (folder / "a.tsv").write_text("x\ty\n1\t2\n")
    return folder / "a.tsv"


def predictions(folder: Path) -> Path:
    options = {"target": [], "dataloader_args": {}}
    return write_parquet(folder / "p.parquet", effects([0.1], [0.1]), record_of(options=options))


def no_provenance(folder: Path) -> Path:
    effects([0.1], [0.1]).to_parquet(folder / "p.parquet")
    return folder / "p.parquet"


def lacking(folder: Path) -> Path:
    table = effects([0.1], [0.1]).drop(columns="effect_sd")
    return write_parquet(folder / "p.parquet", table, record_of())


def broken_hdf5(folder: Path) -> Path:
    (folder / "p.h5").write_bytes(b"no HDF5")
    return folder / "p.h5"


def empty_folder(folder: Path) -> Path:
    (folder / "mr").mkdir()
    return folder / "mr"


BAD = {
    bad_text: "a report cannot show",
    bad_table: "no provenance",
    predictions: "another command",
    no_provenance: "no provenance",
    lacking: "lacks the columns effect_sd",
    broken_hdf5: "cannot be read as HDF5",
    empty_folder: "has no table of",
    lambda folder: folder / "nowhere.h5": "there is no file or folder",
}


@pytest.mark.parametrize(("make", "message"), BAD.items())
def test_bad_input_is_explained(
    make: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")  # type: ignore[operator]
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", ["report", str(path), "-o", str(tmp_path / "out" / "r.html")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_do_not_belong_together_are_refused(
    results: Path, mr_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="one run"):
        find_inputs([results / "ism.h5", results / "ism.tsv"])
    with pytest.raises(InputError, match="score_variants"):
        find_inputs([results / "ism.h5", results / "skipped.tsv"])
    with pytest.raises(InputError, match="at least one"):
        find_inputs([])
    with pytest.raises(InputError, match="--leave_one_out"):
        write_report([mr_folder / "loo.tsv"], results / "never.html", figures=False)
    again = tmp_path / "again.tsv"
    again.write_bytes((mr_folder / "mr.tsv").read_bytes())
    with pytest.raises(InputError, match="twice"):
        write_report([again, mr_folder], results / "never.html", figures=False)
    assert len(find_inputs([mr_folder / "mr.tsv", mr_folder]).tables["estimates"]) == 1
    assert not (results / "never.html").exists()


def test_a_report_is_not_written_over_another_unless_asked(mr_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        write_report([mr_folder], path, figures=False)
    assert path.read_text() == "mine"
    write_report([mr_folder], path, figures=False, overwrite=True)
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="html"):
        write_report([mr_folder], tmp_path / "r.pdf")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_what_to_do(
    package: str, mr_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module(package)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package} is not installed: pip install {package}"):
        write_report([mr_folder], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_be_cautious_of(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.html"
    words = ["report", str(results / "variants.parquet"), "-o", str(path), "--no_figures", "--top", "2"]
    cli_main("mcdropout", [*words, "--rank_by", "effect", "--title", "Mine"])
    err = capsys.readouterr().err
    assert "Few draws: 12" in err
    assert f"report: {path}" in err
    assert "<title>Mine</title>" in path.read_text()
    assert "2 of 9 effects (diff), those with the largest |effect|" in path.read_text()
