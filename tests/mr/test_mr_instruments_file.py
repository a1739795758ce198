"""The file of instruments: what it says, and that the same mutants come from it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mr_data import from_draws

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    Instruments,
    find_groups,
    instruments_from_table,
    mr_ivw,
    select_instruments,
)
from kipoi_mcdropout.mr.export.instruments_file import instruments_table, select_by_table

N_DRAWS = 20


def everything(seed: int = 0, **more: Any) -> Instruments:
    rng = np.random.default_rng(seed)
    ratio = np.repeat([0.7, 1.67], [20, 12])
    effect = rng.uniform(0.2, 1.5, 32)
    x = effect + 0.1 * rng.normal(size=(N_DRAWS, 32))
    y = ratio * effect + 0.1 * rng.normal(size=(N_DRAWS, 32))
    fields: dict[str, Any] = dict(
        snp=[f"chr1:{100 + i}:T:A" for i in range(32)],
        exposure="FOXA2",
        outcome="DNase",
        position=np.arange(100, 132),
        effect_allele=["A"] * 32,
        other_allele=["T"] * 32,
        provenance={"score": "logit"},
    )
    return from_draws(x, y, **(fields | more))


@pytest.mark.parametrize("select_draws", ["all", "half"])
def test_the_same_mutants_and_effects_come_back(select_draws: Any) -> None:
    one = everything()
    used = select_instruments(one, min_z=3, min_distance_bp=2, select_draws=select_draws)
    table = instruments_table(used)
    again = select_by_table(one, table, "instruments.tsv")
    np.testing.assert_array_equal(again.mr_keep, used.mr_keep)
    assert again.reason.tolist() == used.reason.tolist()
    np.testing.assert_allclose(again.beta_exposure, used.beta_exposure)
    np.testing.assert_allclose(again.se_outcome, used.se_outcome)
    assert mr_ivw(again).estimate == pytest.approx(mr_ivw(used).estimate)
    assert again.provenance["selection"]["instruments"] == "instruments.tsv"
    assert again.provenance["selection"]["select_draws"] == select_draws
    assert 0 < again.n_kept < 32


def test_the_table_has_every_mutant_with_its_reason_and_group() -> None:
    used = select_instruments(everything(), top_n=30)
    table = instruments_table(used, find_groups(used)).set_index("SNP")
    assert (table["mr_keep"] == np.where(used.mr_keep, "TRUE", "FALSE")).all()
    out = table[table["mr_keep"] == "FALSE"]
    assert out["reason"].tolist() == ["not_in_top_n"] * 2
    assert out["group"].isna().all()
    kept = table[table["mr_keep"] == "TRUE"]
    assert kept["reason"].isna().all()
    planted = np.where(np.arange(32) < 20, "1", "2")[used.mr_keep]
    assert kept["group"].tolist() == planted.tolist()
    np.testing.assert_allclose(table["ratio"], used.beta_outcome / used.beta_exposure)
    assert (table["position"] == np.arange(100, 132)).all()
    assert set(table["other_allele"]) == {"T"}


def test_another_result_is_refused() -> None:
    one = everything()
    table = instruments_table(select_instruments(one, top_n=20))
    cases: list[tuple[Instruments, pd.DataFrame, str]] = [
        (everything(seed=1), table, "the effects in i.tsv are not those of the result"),
        (one.take(range(30)), table, r"other mutants than the result \(32 and 30\)"),
        (one, table.assign(outcome="CTCF"), "no instruments of FOXA2 -> DNase"),
        (one, table.drop(columns="reason"), "lacks reason"),
        (one, table.assign(mr_keep="FALSE"), "requires at least 1 instrument"),
    ]
    for result, rows, message in cases:
        with pytest.raises(InputError, match=message):
            select_by_table(result, rows, "i.tsv")


def windows(strand: str = "+") -> pd.DataFrame:
    """Two windows of 6 bp that overlap by 3, each base changed to T; `pos` is 1-based."""
    rows = []
    for number, start in enumerate((100, 103)):
        for position in range(6):
            pos = start + 1 + (position if strand == "+" else 5 - position)
            rows.append((f"w{number}", "chr1", pos, position, strand))
    table = pd.DataFrame(rows, columns=["sequence", "chrom", "pos", "position", "strand"])
    table = table.assign(ref="A", alt="C", effect_sd=0.1, effect_mcse=0.02, n_draws=25)
    return pd.concat(
        [table.assign(output=o, effect_mean=np.arange(12) + 1.0) for o in ("FOXA2", "DNase")],
        ignore_index=True,
    )


@pytest.mark.parametrize(("strand", "alleles"), [("+", "A:C"), ("-", "T:G")])
def test_one_mutant_of_two_windows_counts_once_by_its_name_on_the_genome(
    strand: str, alleles: str
) -> None:
    found = instruments_from_table(windows(strand), "FOXA2", "DNase")
    kept = found.kept()
    assert sorted(kept.snp) == [f"chr1:{pos}:{alleles}" for pos in range(101, 110)]
    assert sorted(kept.position.tolist()) == list(range(101, 110))  # type: ignore[union-attr]
    out = found.snp[~found.mr_keep]
    assert len(out) == 3
    assert {name.split("@")[0] for name in out} < set(kept.snp)
    assert {name.split("@")[1] for name in out} == {"w0", "w1"}
    near = select_instruments(found, min_distance_bp=4)
    places = np.sort(near.kept().position)  # type: ignore[arg-type]
    assert (np.diff(places) >= 4).all()
    assert len(places) == (3 if strand == "+" else 2)  # of those in the way the strongest is kept


def test_without_a_place_on_the_genome_a_name_does_not_look_like_one() -> None:
    table = windows().drop(columns=["chrom", "pos"])
    found = instruments_from_table(table, "FOXA2", "DNase")
    assert found.snp[0] == "w0 at 0 A>C"
    assert found.n_kept == 12
