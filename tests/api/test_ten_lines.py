"""The lines that a person types in Python, from a network to a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_models import Linear, fixed, one_hot
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError, TargetError


@pytest.fixture(scope="module")
def effects() -> mcd.Effects:
    model = mcd.Model(fixed(Linear(2)), outputs=["DNase", "FOXA2"])
    options = mcd.MutationOptions(keep_draws=True)
    return mcd.ism(model, one_hot(2), n_draws=30, seed=0, options=options)


def test_the_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sequence = random_sequence(100, 1)
    alt = "ACGT"[("ACGT".index(sequence[49]) + 1) % 4]
    write_fasta(Path("genome.fa"), {"1": sequence})
    write_vcf(Path("in.vcf.gz"), [f"1 50 v {sequence[49]} {alt} . . ."], {"1": 100})
    net, codes = tiny_net(), np.random.default_rng(0).integers(0, 4, (2, LENGTH))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1)

    model = mcd.Model(net, outputs=["DNase", "FOXA2", "CTCF"], input_shape=(4, LENGTH))
    print(mcd.audit(model))
    effects = mcd.ism(model, x, n_draws=30, seed=0)
    assert len(effects.table()) == 2 * LENGTH * 3 * 3
    effects.to_xarray()
    effects.save("ism.h5")
    pd.testing.assert_frame_equal(mcd.read("ism.h5").table(), effects.table())
    variants = mcd.score_variants(model, "in.vcf.gz", "genome.fa", n_draws=30, seed=0)
    assert len(variants.table()) == 3
    pairs = mcd.mr.instruments(effects, exposure="FOXA2", outcome="DNase", min_z=0.1)
    assert len(mcd.mr.estimates(pairs)) > 2
    mcd.report(effects, "report.html", figures=False)
    assert "FOXA2" in Path("report.html").read_text("utf-8")


def test_instruments_are_those_of_the_command_line(effects: mcd.Effects, tmp_path: Path) -> None:
    path = effects.save(tmp_path / "a.h5")
    pairs = mcd.mr.instruments(effects, "FOXA2", "DNase", min_z=1, one_per_position=True)
    words = [str(path), "--exposure", "FOXA2", "--outcome", "DNase", "--min_z", "1"]
    words += ["--one_per_position", "--n_bootstrap", "20", "-q", "-o", str(tmp_path / "mr.tsv")]
    run("mr", "kipoi mcdropout mr", words)
    expected = pd.read_table(tmp_path / "mr.tsv", skiprows=1)
    table = mcd.mr.estimates(pairs, n_bootstrap=20)
    assert table["method"].tolist() == expected["method"].tolist()
    np.testing.assert_allclose(table["estimate"], expected["estimate"], rtol=1e-12)
    assert pairs.draws_exposure is not None
    with pytest.raises(TargetError):
        mcd.mr.instruments(effects, "FOXA2", "CTCF")
    with pytest.raises(InputError, match="must differ"):
        mcd.mr.instruments(effects, "FOXA2", "FOXA2")


@pytest.mark.parametrize("suffix", [None, ".h5", ".parquet"])
def test_a_report_of_effects_wherever_they_are(
    effects: mcd.Effects, suffix: str | None, tmp_path: Path
) -> None:
    shown = effects if suffix is None else mcd.read(effects.save(tmp_path / f"a{suffix}"))
    table = mcd.mr.estimates(mcd.mr.instruments(effects, "FOXA2", "DNase", min_z=1), n_bootstrap=20)
    path = mcd.report(shown, tmp_path / "r.html", tables=[table], figures=False, title="My network")
    html = path.read_text("utf-8")
    assert "My network" in html
    assert "egger" in html.lower()
    assert "Linear" in html
    with pytest.raises(mcd.McDropoutError, match="exists"):
        mcd.report(shown, path, figures=False)
