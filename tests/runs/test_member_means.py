"""The mean effect of each member in tables, where it is asked for: ISM and VCF, Python and commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from network_files import Files, make_files, trained
from small_models import Linear, fixed, one_hot
from variant_world import TinyNet, random_sequence, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read import read_effects, read_member_means

COLUMNS = ["effect_mean_1", "effect_mean_2", "effect_mean_3"]
ASKED = mcd.MutationOptions(start=3, end=7, member_means=True)


def _model(n: int = 3) -> mcd.Model:
    return mcd.Model([fixed(Linear(), seed) for seed in range(n)])


def _alone(seed: int) -> np.ndarray:
    """The effect of one network with dropout off, which no other code of members touches."""
    options = mcd.MutationOptions(start=3, end=7)
    model = mcd.Model(fixed(Linear(p=0.0), seed))
    table = mcd.ism(model, one_hot(2), n_draws=0, options=options).table()
    return table["effect_point"].to_numpy(float)


def test_the_columns_are_in_the_order_in_which_members_were_given(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.h5", "a.tsv", "a.parquet")]
    effects = mcd.ism(_model(), one_hot(2), n_draws=600, options=ASKED, output=paths)
    table = effects.table()
    for path in paths[1:]:
        pd.testing.assert_frame_equal(read_effects(path), table, check_exact=False, rtol=1e-6)
        np.testing.assert_array_equal(read_member_means(path), effects.member_means())
    mean = table[COLUMNS].mean(axis=1)
    np.testing.assert_allclose(mean, table["effect_mean"], rtol=1e-4, atol=1e-7)
    for seed, name in enumerate(COLUMNS):
        point = _alone(seed)
        assert np.corrcoef(table[name], point)[0, 1] > 0.95, name
    assert np.corrcoef(table[COLUMNS[0]], _alone(1))[0, 1] < 0.9


def test_effects_in_memory_have_them_too() -> None:
    effects = mcd.ism(_model(), one_hot(1), n_draws=6, options=ASKED)
    table = effects.table()
    number = [effects.members.index(f"member {i}") for i in (1, 2, 3)]
    np.testing.assert_array_equal(table[COLUMNS].to_numpy().T, effects.member_means()[number])
    plain = mcd.ism(_model(), one_hot(1), n_draws=6, options=mcd.MutationOptions(start=3, end=7)).table()
    pd.testing.assert_frame_equal(plain, table.drop(columns=COLUMNS))


def test_one_model_alone_has_no_members() -> None:
    with pytest.raises(InputError, match=r"--member_means\) needs a model with several members"):
        mcd.ism(_model(1), one_hot(1), n_draws=4, options=ASKED)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = make_files(tmp_path)
    torch.save(trained(1).state_dict(), tmp_path / "second.pt")
    sequence = random_sequence(60, 1)
    write_fasta(tmp_path / "g.fa", {"chr1": sequence})
    records = [f"chr1 {p} . {sequence[p - 1]} {'ACGT'['TGAC'.index(sequence[p - 1])]} . . ."
               for p in (20, 30, 40)]  # fmt: skip
    write_vcf(tmp_path / "in.vcf", records)
    (tmp_path / "w.bed").write_text("chr1\t5\t35\nchr1\t20\t50\n")
    return made


def _words(files: Files, *more: str) -> list[str]:
    folder = files.folder
    return [
        files.named(), "--weights", str(files.weights), "--member", str(folder / "second.pt"),
        "--input_shape", "4,30", "-f", str(folder / "g.fa"), "--n_draws", "4", *more,
    ]  # fmt: skip


def _run(command: str, words: list[str]) -> int:
    try:
        run(command, command, words)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_commands_write_them(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    folder = files.folder
    regions = ("--regions", str(folder / "w.bed"), "-o", str(folder / "ism.tsv"))
    assert _run("ism", _words(files, *regions, "--member_means")) == 0
    table = read_effects(folder / "ism.tsv")
    assert list(table.filter(regex=r"effect_mean_\d")) == COLUMNS[:2]
    vcf = ("-i", str(folder / "in.vcf"), "--member_means")
    outputs = ("-o", str(folder / "out.vcf"), "-t", str(folder / "out.parquet"))
    assert _run("score_variants", _words(files, *vcf, *outputs)) == 0
    table = read_effects(folder / "out.parquet")
    np.testing.assert_allclose(table[COLUMNS[:2]].mean(axis=1), table["effect_mean"], rtol=1e-6)
    assert read_member_means(folder / "out.parquet").shape == (2, len(table))
    assert "MCD_" in (folder / "out.vcf").read_text()
    capsys.readouterr()
    assert _run("score_variants", _words(files, *vcf, "-o", str(folder / "other.vcf"))) == 2
    assert "give a table too" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ism", "score_variants"])
def test_shards_are_joined_with_them(files: Files, command: str) -> None:
    folder = files.folder
    inputs = ("--regions", str(folder / "w.bed")) if command == "ism" else ("-i", str(folder / "in.vcf"))
    found = []
    for name, words in (("whole.tsv", [()]), ("shards.tsv", [("--shard", f"{i}/2") for i in (1, 2)])):
        output = ("-o" if command == "ism" else "-t", str(folder / name), "--member_means")
        for shard in words:
            assert _run(command, _words(files, *inputs, *output, *shard)) == 0
        if len(words) > 1:
            assert _run("merge", [str(folder / f"{name}.shards")]) == 0
        found.append(read_effects(folder / name))
    pd.testing.assert_frame_equal(*found)
    assert COLUMNS[1] in found[0]


def test_from_python_a_vcf_has_them(files: Files) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        nets = [TinyNet().eval() for _ in range(3)]
    model = mcd.Model(nets, input_shape=(4, 21))
    effects = mcd.score_variants(
        model, files.folder / "in.vcf", files.folder / "g.fa", n_draws=6,
        vcf_options=mcd.VcfOptions(member_means=True),
    )  # fmt: skip
    table = effects.table()
    number = [effects.members.index(f"member {i}") for i in (1, 2, 3)]
    np.testing.assert_allclose(table[COLUMNS].to_numpy().T, effects.member_means()[number], rtol=1e-6)
