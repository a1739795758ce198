"""Coordinates come from ranges that were compared with the genome."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy import DATALOADER_PY, LENGTH, Toy, make_toy

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.runs.ism.check_ranges import RangeCheck, genome_of, with_checked_ranges
from kipoi_mcdropout.sequence.genome import Genome

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
TEXT = "".join(np.random.default_rng(3).choice(list("ACGT"), 400))
L = 40


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    path = tmp_path / "c1.fa"
    path.write_text(f">c1\n{TEXT}\n")
    return Genome(path)


def one_hot(text: str) -> np.ndarray:
    return np.array([[base == letter for letter in "ACGT"] for base in text], np.float32)


def reverse(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def batch(*windows: tuple[str, int, int, str]) -> dict[str, Any]:
    """Of (sequence, start, end, strand)."""
    texts, starts, ends, strands = zip(*windows, strict=True)
    ranges = {
        "chr": np.array(["c1"] * len(texts)), "start": np.array(starts), "end": np.array(ends),
        "id": np.array([f"w{i}" for i in range(len(texts))]), "strand": np.array(strands),
    }  # fmt: skip
    return {"inputs": {"seq": np.stack([one_hot(t) for t in texts])}, "metadata": {"ranges": ranges}}


def checked(given: dict[str, Any], genome: Genome | None) -> dict[str, Any]:
    stream = with_checked_ranges(iter([given]), RangeCheck(genome), "seq", 1, "ACGT")
    return next(stream)


def strands(given: dict[str, Any]) -> list[str]:
    return list(given["metadata"]["ranges"]["strand"])


def test_what_is_as_it_says_is_left_alone(genome: Genome) -> None:
    forward, backward = TEXT[100:140], reverse(TEXT[100:140])
    mutated = "A" + TEXT[201:238] + "TT"  # variants of a person
    edge = "N" * 10 + TEXT[:30]
    given = batch(
        (forward, 100, 140, "+"), (forward, 100, 140, "*"), (backward, 100, 140, "-"),
        (mutated, 200, 240, "."), (edge, -10, 30, "+"), ("N" * L, 50, 90, "-"),
    )  # fmt: skip
    assert checked(given, genome) is given


def test_forward_sequences_of_minus_windows_get_forward_coordinates(genome: Genome) -> None:
    """BED6 `c1 100 140 w 0 -` read without looking at the strand: base 1 of it is at 101, not at 140."""
    windows = [(TEXT[s : s + L], s, s + L, strand) for s, strand in ((100, "-"), (200, "-"), (9, "+"))]
    given = batch(*windows)
    with pytest.warns(InputWarning, match='strand "-", first w0, have the forward sequence') as told:
        assert strands(checked(given, genome)) == ["+", "+", "+"]
    assert len(told) == 1, "once, for all"
    assert strands(given) == ["-", "-", "+"], "the batch of the dataloader is not changed"


def test_reverse_sequences_of_plus_windows_get_reverse_coordinates(genome: Genome) -> None:
    with pytest.warns(InputWarning, match='strand other than "-", first w0'):
        assert strands(checked(batch((reverse(TEXT[8:48]), 8, 48, "*")), genome)) == ["-"]


def test_without_a_genome_what_minus_means_is_said() -> None:
    with pytest.warns(InputWarning, match="treated as reverse complements of the genome"):
        checked(batch((TEXT[8:48], 8, 48, "-")), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked(batch((TEXT[8:48], 8, 48, "+")), None)


@pytest.mark.parametrize(
    ("end", "hint"), [(120, ""), (139, " Is it counted from 1"), (141, " Is it counted from 1")]
)
def test_a_range_of_another_length_is_refused(end: int, hint: str, genome: Genome) -> None:
    for known in (genome, None):
        message = rf"range c1:100-{end} \(\+\), {end - 100} bp, for a .*{hint}"
        with pytest.raises(InputError, match=message):
            checked(batch((TEXT[100:140], 100, end, "+")), known)


@pytest.mark.parametrize(("shift", "side"), [(1, "before"), (-1, "after")])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_range_that_is_one_base_off_is_refused(
    shift: int, side: str, strand: str, genome: Genome
) -> None:
    text = TEXT[100:140] if strand == "+" else reverse(TEXT[100:140])
    with pytest.raises(InputError, match=f"one base {side} it"):
        checked(batch((text, 100 + shift, 140 + shift, strand)), genome)


def test_a_sequence_of_another_place_is_warned_of_once(genome: Genome) -> None:
    given = batch((TEXT[300:340], 100, 140, "+"), (TEXT[200:240], 9, 49, "+"))
    with pytest.warns(InputWarning, match=r"c1:100-140 \(\+\) is not what .* % of the bases") as told:
        assert checked(given, genome) is given
    assert len(told) == 1


def test_the_genome_is_found_among_the_arguments(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "bed").write_text("c1\t1\t2\n")
    for arguments, found in (
        ({"n": 3, "fasta_file": str(genome.path)}, True),
        ({"genome_fasta": genome.path, "intervals_file": "x"}, True),
        ({"fasta_file": str(tmp_path / "none.fa")}, False),
        ({"fasta_file": str(tmp_path / "bed"), "intervals_file": str(genome.path)}, False),
    ):
        assert (genome_of(arguments) is not None) == found


def test_ism_writes_the_coordinates_that_the_genome_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy: Toy = make_toy(tmp_path)
    (toy.model / "dataloader.py").write_text(DATALOADER_PY.replace('strand="+"', 'strand="-"'))
    data = json.dumps(toy.dataloader_args)
    words = ["ism", str(toy.model), "--dataloader_args", data, "--model_input", "seq", "--n_draws", "2"]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "a.parquet")])
    assert "have the forward sequence" in capsys.readouterr().err
    table = pd.read_parquet(tmp_path / "a.parquet")
    genome = toy.fasta.read_text().splitlines()[1].upper()
    assert set(table.strand) == {"+"}
    assert len(table) > 3 * LENGTH
    assert (table.ref == [genome[pos - 1] for pos in table.pos]).all()

    shifted = DATALOADER_PY.replace("start=start, end=end", "start=start + 1, end=end + 1")
    (toy.model / "dataloader.py").write_text(shifted)
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [*words, "-o", str(tmp_path / "b.parquet")])
    assert stop.value.code == 2
    assert not (tmp_path / "b.parquet").exists()
    assert "Does the range count from 1?" in capsys.readouterr().err
