"""Files for R: their contents, and R itself on them where there is an R."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mr_data import from_draws, simulated
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.mr import (
    Instruments,
    covariance_of_draws,
    export_mr,
    mr_egger,
    outcome_correlation,
    select_instruments,
)
from kipoi_mcdropout.mr.export import files as export_module
from kipoi_mcdropout.mr.export import readme as readme_module
from kipoi_mcdropout.mr.export.readme import BASE_R

ALLELES = {"effect_allele": list("ACGT") * 5, "other_allele": list("CATA") * 5}


@pytest.fixture
def instruments() -> Instruments:
    one = simulated(exposure="FOXA2", outcome="DNase", sequence=["s 1/x"] * 12 + ["s2"] * 8, **ALLELES)
    x = one.draws_exposure.copy()  # type: ignore[union-attr]
    x[:, 4] = 0.25
    return from_draws(
        x,
        one.draws_outcome,  # type: ignore[arg-type]
        exposure="FOXA2",
        outcome="DNase",
        sequence=one.sequence,
        provenance={"score": "diff"},
        **ALLELES,
    )


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t")


def assert_same(found: Any, expected: Any) -> None:
    """Equal but for the last bits, which some versions of pandas lose in reading."""
    assert_allclose(found, expected, rtol=1e-15, atol=0)


def test_all_files_are_written_and_named(instruments: Instruments, tmp_path: Path) -> None:
    files = export_mr(instruments, tmp_path / "out")
    assert set(files) == {
        "twosamplemr.tsv",
        "mr_input.tsv",
        "radialmr.tsv",
        "mrpresso.tsv",
        "genal_exposure.tsv",
        "genal_outcome.tsv",
        "deepmr.csv",
        "provenance.json",
        "draws.parquet",
        "covariance_xx.tsv",
        "covariance_yy.tsv",
        "covariance_xy.tsv",
        "correlation_exposure.tsv",
        "correlation_outcome.tsv",
        "README.txt",
    }
    there = {p.name for p in (tmp_path / "out").iterdir() if p.is_file()}
    assert there == set(files)  # no half-written files beside them


def test_twosamplemr_has_all_rows_with_mr_keep(instruments: Instruments, tmp_path: Path) -> None:
    files = export_mr(instruments, tmp_path)
    text = files["twosamplemr.tsv"].read_text().splitlines()
    names = ["SNP", "id.exposure", "id.outcome", "exposure", "outcome"]
    for what in ("beta", "se", "effect_allele", "other_allele", "eaf", "samplesize", "pval"):
        names += [f"{what}.exposure", f"{what}.outcome"]
    assert text[0].split("\t")[:20] == [*names, "mr_keep"]
    table = read(files["twosamplemr.tsv"])
    assert len(table) == 20
    cells = [line.split("\t") for line in text[1:]]
    for column, values in ((5, instruments.beta_exposure), (8, instruments.se_outcome)):
        assert_array_equal([float(row[column]) for row in cells], values)  # to the last bit
    assert table["mr_keep"].tolist() == [i != 4 for i in range(20)]
    assert table["reason"][4] == "zero_variance_exposure"
    assert table["reason"].isna().sum() == 19
    assert "TRUE" in text[1]
    assert "FALSE" in text[5]
    assert (table["effect_allele.exposure"] == table["effect_allele.outcome"]).all()
    assert table["effect_allele.exposure"].tolist() == ALLELES["effect_allele"]
    # A/T and C/G mutants stay: nothing was harmonised away
    pairs = set(table["effect_allele.exposure"] + table["other_allele.exposure"])
    assert "TA" in pairs
    assert np.isnan(table["pval.exposure"][4])
    assert table["pval.outcome"].between(0, 1).all()


def test_the_other_tables_have_the_kept_rows(instruments: Instruments, tmp_path: Path) -> None:
    files = export_mr(instruments, tmp_path)
    used = instruments.kept()
    mr_input = read(files["mr_input.tsv"])
    assert mr_input.columns[:5].tolist() == ["snps", "bx", "bxse", "by", "byse"]
    assert_same(mr_input["byse"], used.se_outcome)
    radial = read(files["radialmr.tsv"])
    assert_same(radial["beta.outcome"], used.beta_outcome)
    for side in ("exposure", "outcome"):
        genal = read(files[f"genal_{side}.tsv"])
        assert " ".join(genal.columns) == "SNP CHR POS EA NEA BETA SE P EAF"
        assert genal["SNP"].tolist() == used.snp.tolist()
        assert_same(genal["BETA"], getattr(used, f"beta_{side}"))
        assert_same(genal["SE"], getattr(used, f"se_{side}"))
        assert genal["EAF"].isna().all()
    presso = read(files["mrpresso.tsv"])
    assert presso.columns.tolist() == ["SNP", "E1_effect", "E1_se", "Y_effect", "Y_se"]
    assert_same(presso["E1_se"], used.se_exposure)
    rho = pd.read_csv(files["correlation_outcome.tsv"], sep="\t", index_col=0)
    assert rho.index.tolist() == rho.columns.tolist() == mr_input["snps"].tolist()
    assert_allclose(rho.to_numpy(), outcome_correlation(instruments.kept()))
    xy = read(files["covariance_xy.tsv"]).set_index("SNP")
    assert_same(xy.to_numpy(), covariance_of_draws(used)["xy"])


def test_deepmr_keeps_the_old_names_and_says_what_they_hold(
    instruments: Instruments, tmp_path: Path
) -> None:
    path = export_mr(instruments, tmp_path)["deepmr.csv"]
    comment, header = path.read_text().splitlines()[:2]
    assert comment.startswith("# X_pred_var")
    assert "standard deviation of the effect" in comment
    assert header == "seq_num,X_pred_mean,X_pred_var,Y_pred_mean,Y_pred_var"
    table = pd.read_csv(path, comment="#")
    assert_same(table["X_pred_var"], instruments.kept().se_exposure)
    assert table["seq_num"].tolist() == [1] * 11 + [2] * 8
    mcse = export_mr(instruments.with_se_type("mcse"), tmp_path / "mcse")["deepmr.csv"]
    assert "Monte Carlo standard error" in mcse.read_text().splitlines()[0]


def test_draws_come_back_as_they_were(instruments: Instruments, tmp_path: Path) -> None:
    table = pd.read_parquet(export_mr(instruments, tmp_path)["draws.parquet"])
    wide = table.pivot(index="draw", columns="SNP", values="effect_outcome")
    used = instruments.kept()
    assert_array_equal(wide[used.snp].to_numpy(), used.draws_outcome)
    assert len(table) == 50 * 19


def test_each_sequence_has_its_own_folder(instruments: Instruments, tmp_path: Path) -> None:
    export_mr(instruments, tmp_path)
    folders = sorted(p.name for p in (tmp_path / "sequences").iterdir())
    assert folders == ["0001_s%201%2Fx", "0002_s2"]
    inside = tmp_path / "sequences" / folders[0]
    assert "Sequence: s 1/x\n" in (inside / "README.txt").read_text()
    assert json.loads((inside / "provenance.json").read_text())["sequences"] == ["s 1/x"]
    part = read(tmp_path / "sequences" / folders[1] / "twosamplemr.tsv")
    assert part["SNP"].tolist() == [f"m{i}" for i in range(12, 20)]
    export_mr(instruments, tmp_path / "pooled", per_sequence=False)
    assert not (tmp_path / "pooled" / "sequences").exists()


def test_provenance_records_the_selection(instruments: Instruments, tmp_path: Path) -> None:
    chosen = select_instruments(instruments, top_n=7, select_draws="half")
    content = json.loads(export_mr(chosen, tmp_path)["provenance.json"].read_text())
    assert content["score"] == "diff"
    assert content["n_kept"] == 7
    assert content["n_rows"] == 20
    assert content["selection"]["n_draws_selection"] == 25
    assert content["selection"]["left_after"]["not_in_top_n"] == 7


def test_nothing_is_overwritten_unasked(instruments: Instruments, tmp_path: Path) -> None:
    export_mr(instruments, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(OutputError, match="of the files to write already exist"):
        export_mr(instruments.with_se_type("mcse"), tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    export_mr(instruments.with_se_type("mcse"), tmp_path, overwrite=True)
    assert read(tmp_path / "mr_input.tsv")["byse"][0] < read_first(before)


def read_first(before: dict[Path, bytes]) -> float:
    (path,) = [p for p in before if p.name == "mr_input.tsv" and "sequences" not in p.parts]
    return float(before[path].decode().splitlines()[1].split("\t")[4])


def test_a_folder_that_cannot_be_made(instruments: Instruments, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"the export to .* failed"):
        export_mr(instruments, tmp_path / "file" / "out")


def test_nothing_to_export(tmp_path: Path) -> None:
    one = simulated(mr_keep=[False] * 20)
    with pytest.raises(InputError, match="0 of 20 are left"):
        export_mr(one, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_summaries_alone_and_many_instruments(
    instruments: Instruments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set(export_mr(instruments.without_draws(), tmp_path / "a"))
    assert not {n for n in names if n.startswith(("draws", "cov", "corr"))}
    monkeypatch.setattr(export_module, "MAX_MATRIX", 5)
    files = export_mr(instruments, tmp_path / "b")
    assert not {n for n in files if n.startswith(("cov", "corr"))}
    assert "over 5 instruments" in files["README.txt"].read_text()


def test_readme_names_every_file_and_what_the_errors_are(
    instruments: Instruments, tmp_path: Path
) -> None:
    files = export_mr(instruments, tmp_path)
    text = files["README.txt"].read_text()
    for name in set(files) - {"README.txt", "correlation_exposure.tsv"}:
        assert name in text
    assert "sd over 50 draws" in text
    assert "20, of which 19 are used" in text
    few = from_draws(instruments.draws_exposure[:9], instruments.draws_outcome[:9])  # type: ignore[index]
    told = export_mr(few, tmp_path / "few")["README.txt"].read_text()
    assert "has no inverse: 19 instruments, 9 draws" in told


def rscript() -> str:
    found = shutil.which("Rscript")
    if found is None:
        pytest.skip("no Rscript on this machine (Debian: r-base-core)")
    return found


def run_r(lines: str, folder: Path) -> str:
    done = subprocess.run(
        [rscript(), "--vanilla", "-e", lines], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("se_type", ["sd", "mcse"])
def test_base_r_reads_every_export_and_finds_our_slope(
    instruments: Instruments, tmp_path: Path, se_type: Any
) -> None:
    one = instruments.with_se_type(se_type)
    readme = export_mr(one, tmp_path)["README.txt"].read_text()
    ours = mr_egger(one)
    output = run_r(readme.split(BASE_R)[1], tmp_path)
    rows = [line.split("\t") for line in output.strip().splitlines()]
    files = [row[0] for row in rows]
    assert files == [
        "twosamplemr.tsv",
        "mr_input.tsv",
        "radialmr.tsv",
        "mrpresso.tsv",
        "deepmr.csv",
    ]
    for _, slope, se in rows:
        assert float(slope) == pytest.approx(ours.estimate, rel=1e-10)
        assert float(se) == pytest.approx(ours.se, rel=1e-10)


def test_the_lines_for_each_package_are_r(tmp_path: Path) -> None:
    for name, text in readme_module._PACKAGES.items():
        lines = [line for line in text.splitlines() if line.strip()]
        assert lines[0].startswith("## ")
        calls = run_r(f"cat(length(parse(text = {json.dumps(text)})))", tmp_path)
        tops = [n for n in lines if not n.startswith(("##", " ", ")"))]
        assert int(calls) == len(tops), f"{name}: one expression a line that begins at its start"


def test_r_takes_texts_for_texts(tmp_path: Path) -> None:
    """All alleles T and F, which R takes for truth values; names and labels that look like numbers."""
    texts = {
        "effect_allele": ["T"] * 20, "other_allele": ["F"] * 20,
        "sequence": ["01"] * 10 + ["NA"] * 10, "snp": [f"{i:03d}" for i in range(20)],
    }  # fmt: skip
    one = simulated(exposure="007", outcome='a "b"\tNA', **texts)
    readme = export_mr(one, tmp_path)["README.txt"].read_text()
    assert 'Outcome: "a \\"b\\"\\tNA"\n' in readme
    lines = readme.split(BASE_R)[1].replace("d <- d[d$mr_keep, ]", "all <- d; d <- d[d$mr_keep, ]")
    run_r(
        lines
        + """
        stopifnot(identical(all$effect_allele.exposure, rep("T", 20)))
        stopifnot(identical(all$other_allele.outcome, rep("F", 20)), is.logical(all$mr_keep))
        stopifnot(identical(all$sequence, rep(c("01", "NA"), each = 10)))
        stopifnot(identical(all$SNP, sprintf("%03d", 0:19)), identical(all$exposure[1], "007"))
        stopifnot(identical(all$outcome[1], 'a "b"\\tNA'), all(is.na(all$eaf.exposure)))
        """,
        tmp_path,
    )


def test_texts_of_every_file_are_named_for_r(instruments: Instruments, tmp_path: Path) -> None:
    files = export_mr(instruments, tmp_path)
    for name, texts in readme_module.TEXTS.items():
        table = read(files[name])
        found = [c for c in table if not pd.api.types.is_numeric_dtype(table[c])]
        assert set(found) <= set(texts) <= set(table), name


def test_base_r_reads_the_correlation_in_order(instruments: Instruments, tmp_path: Path) -> None:
    export_mr(instruments, tmp_path)
    output = run_r(
        """
        d <- read.delim("mr_input.tsv")
        rho <- as.matrix(read.delim("correlation_outcome.tsv", row.names = 1, check.names = FALSE))
        stopifnot(identical(rownames(rho), d$snps), identical(colnames(rho), d$snps))
        s <- ifelse(d$bx < 0, -1, 1)
        w <- solve(rho * (s %o% s) * (d$byse %o% d$byse))
        x <- cbind(1, d$bx * s)
        cat(sprintf("%.17g", solve(t(x) %*% w %*% x, t(x) %*% w %*% (d$by * s))[2]))
        """,
        tmp_path,
    )
    expected = mr_egger(instruments, correlated=True).estimate
    assert float(output) == pytest.approx(expected, rel=1e-8)
