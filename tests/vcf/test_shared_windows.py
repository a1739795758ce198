"""Records near each other in one window: the reference is computed once, the effects are those there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from variant_call import score_variants
from variant_world import LENGTH, one_hot, random_sequence, tiny_net, write_fasta, write_vcf

from kipoi_mcdropout import VariantOptions
from kipoi_mcdropout.dropout.masks import keep_mask
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.shard import Shard
from kipoi_mcdropout.vcf.place.shared_windows import check_share, shared
from kipoi_mcdropout.vcf.read.record import Record

GENOME = random_sequence(600, 31)
OTHER = {"A": "C", "C": "G", "G": "T", "T": "A"}
INDEX = (LENGTH - 1) // 2
N_DRAWS, SEED = 3, 5


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """SNVs every third base, with a deletion, an insertion, and a long allele among them."""
    lines = []
    for pos in range(100, 500, 3):
        ref = GENOME[pos - 1]
        alt = {130: ref + "GG", 133: ref + "A" * 9}.get(pos, OTHER[ref])
        if pos == 160:
            ref, alt = GENOME[159:163], ref
        lines.append(f"c {pos} . {ref} {alt} . . .")
    return {
        "vcf": write_vcf(tmp_path / "in.vcf", lines, {"c": 600}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": GENOME}),
    }


class Counting(FullEngine):
    """Counts the references that are computed, draw by draw."""

    references = 0

    def run(self, batch: Any, draws: Any, selected: Any = None) -> Iterator[Any]:
        Counting.references += len(batch.reference_codes) * len(draws)
        return super().run(batch, draws, selected)


def run(world: dict[str, Any], table: Path, engine: Any = "full", **options: Any) -> pd.DataFrame:
    score_variants(
        tiny_net(), **world, table=table, n_draws=N_DRAWS, seed=SEED, length=LENGTH, category_axis=0,
        engine=engine, **options,
    )  # fmt: skip
    return pd.read_parquet(table)


def by_hand(ref: str, alt: str) -> np.ndarray:
    """Effects of each draw of two windows, shape=(draws, 3)."""
    net = tiny_net()
    x = torch.from_numpy(np.stack([one_hot(ref), one_hot(alt)]))
    found = []
    with torch.inference_mode():
        hidden = torch.relu(net.conv(x))
        for draw in range(N_DRAWS):
            keep = torch.from_numpy(keep_mask(SEED, draw, 0, (1, *hidden.shape[1:]), net.drop.p))
            outputs = torch.sigmoid(net.dense((hidden * keep / (1 - net.drop.p)).flatten(1))).double()
            found.append((outputs[1] - outputs[0]).numpy())
    return np.stack(found)


def test_the_effects_are_those_in_the_shared_window(world: dict[str, Any], tmp_path: Path) -> None:
    table = run(world, tmp_path / "t.parquet", share_windows=6)
    n_checked = 0
    for pos, rows in table.groupby("pos"):
        first = 100 + (pos - 100) // 9 * 9  # three records in a window: 6 bp from first to last
        middle = first + 3 if first + 6 <= 499 else first + (499 - first) // 3 * 3 // 2
        row = rows.iloc[0]
        if pos == 133:  # ten bases: too long for the place right of the middle
            middle = pos
        start = middle - 1 - INDEX
        edited = GENOME[: pos - 1] + row["alt"] + GENOME[pos - 1 + len(row["ref"]) :]
        effects = by_hand(GENOME[start : start + LENGTH], edited[start : start + LENGTH])
        np.testing.assert_allclose(rows["effect_mean"], effects.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(rows["effect_sd"], effects.std(axis=0, ddof=1), atol=1e-6)
        assert (row["flags"] == "off_centre") == (middle != pos), pos
        n_checked += np.abs(effects).max() > 1e-4
    assert n_checked > 120
    assert set(table["flags"]) == {"off_centre", ""}


def test_fewer_references_are_computed(world: dict[str, Any], tmp_path: Path) -> None:
    counts = {}
    for bp in (0, 6):
        Counting.references = 0
        run(world, tmp_path / f"{bp}.parquet", Counting, share_windows=bp)
        counts[bp] = Counting.references
    n_records = len(range(100, 500, 3))
    points = N_DRAWS + 1  # the prediction with dropout off is one more
    assert counts == {0: n_records * points, 6: (-(-n_records // 3) + 1) * points}


def test_it_is_off_by_default_and_0_is_off(world: dict[str, Any], tmp_path: Path) -> None:
    default = run(world, tmp_path / "a.parquet")
    off = run(world, tmp_path / "b.parquet", share_windows=0)
    pd.testing.assert_frame_equal(default, off, check_exact=True)
    assert set(default["flags"]) == {""}


def test_shards_and_a_resumed_run_give_the_same_bits(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kipoi_mcdropout.runs.merge import sharded_run
    from kipoi_mcdropout.vcf.run import merge_variants

    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    whole = run(world, tmp_path / "whole.parquet", share_windows=6)

    class Stop(BaseException):
        pass

    class Stopping(FullEngine):
        calls = 0

        def run(self, *args: Any) -> Any:
            Stopping.calls += 1
            if Stopping.calls > 4:
                raise Stop
            return super().run(*args)

    with pytest.raises(Stop):
        run(world, tmp_path / "resumed.parquet", Stopping, share_windows=6)
    with pytest.raises(InputError, match="differ in: share_windows"):
        run(world, tmp_path / "resumed.parquet", FullEngine, share_windows=9, resume=True)
    resumed = run(world, tmp_path / "resumed.parquet", FullEngine, share_windows=6, resume=True)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    for i in (1, 2):
        with pytest.raises(FileNotFoundError):
            run(world, tmp_path / "s.parquet", share_windows=6, shard=Shard(i, 2))
    merge_variants(sharded_run(tmp_path / "s.parquet.shards"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s.parquet"), whole, check_exact=True)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 60)), max_size=40), st.integers(1, 20)
)
def test_groups_are_near_and_their_window_holds_them(places: list[tuple[str, int]], bp: int) -> None:
    records = [Record(i, "", "\n", c, pos, ".", "A", ("C",)) for i, (c, pos) in enumerate(places)]
    found = list(shared(records, bp))
    assert [(r.line, r.contig, r.pos) for r in found] == [(r.line, r.contig, r.pos) for r in records]
    for record in found:
        if record.middle is not None:
            off = record.pos - 1 - record.middle
            assert -(bp // 2) <= off <= -(-bp // 2)
    alone = [r for r in found if r.middle is None]
    for before, after in itertools.pairwise(found):
        near = before.contig == after.contig and 0 <= after.pos - before.pos <= bp
        assert not (near and before in alone and after in alone)


def test_every_distance_up_to_the_most_fits_and_no_longer_one() -> None:
    for length in (1, 2, 9, 10, 21):
        for shifts in ((0,), (0, 2), (-3, 1)):
            index = (length - 1) // 2
            if not all(0 <= index - shift < length for shift in shifts):
                continue
            holds = [
                bp
                for bp in range(60)
                if all(
                    0 <= index + off - shift < length
                    for shift in shifts
                    for off in (-(bp // 2), -(-bp // 2))
                )
            ]
            for bp in range(60):
                if bp in holds:
                    check_share(bp, length, shifts)
                else:
                    with pytest.raises(InputError, match=f"from 0 to {max(holds)}, so that all"):
                        check_share(bp, length, shifts)
    with pytest.raises(InputError, match="got -1"):
        check_share(-1, 21, (0,))


def test_what_does_not_go_with_it_is_said() -> None:
    with pytest.raises(InputError, match=r"phased \(--phased\) cannot be used with share_windows"):
        VariantOptions(phased=True, share_windows=3).grouping(LENGTH)
    with pytest.raises(InputError, match=r"with a background, share_windows .* at most 24"):
        VariantOptions(background="b.npz", share_windows=25).grouping(200)
    assert VariantOptions(background="b.npz", share_windows=24).grouping(200).share_bp == 24
