"""Members by files: weights for the same code, other models, patterns, and the YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from network_files import LENGTH, Files, make_files, sequences, trained

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli.commands import score_variants
from kipoi_mcdropout.errors import InputError, OutputError


@dataclass(frozen=True)
class Folds:
    files: Files
    paths: list[Path]  # of the weights of three folds
    nets: list[torch.nn.Module]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Folds:
    files = make_files(tmp_path_factory.mktemp("user"))
    paths, nets = [], [trained(seed) for seed in range(3)]
    for i, net in enumerate(nets):
        path = files.folder / f"fold_{i}" / "weights.pt"
        path.parent.mkdir()
        torch.save(net.state_dict(), path)
        paths.append(path)
    return Folds(files, paths, nets)


def _table(model: mcd.Model) -> pd.DataFrame:
    options = mcd.MutationOptions(start=2, end=6)
    return mcd.ism(model, sequences(), n_draws=6, options=options).table()


def test_files_of_weights_are_members_of_the_same_code(folds: Folds) -> None:
    by_files = mcd.load_model(
        folds.files.named(), weights=folds.paths[0], members=[folds.paths[1], folds.paths[2]]
    )
    pd.testing.assert_frame_equal(_table(by_files), _table(mcd.Model(folds.nets)))
    names = by_files.ensemble.names
    assert sorted(names) == [f"member {i + 1} ({path})" for i, path in enumerate(folds.paths)]


def test_a_pattern_names_all_of_them_and_the_models_own_weights_count_once(folds: Folds) -> None:
    pattern = str(folds.files.folder / "fold_*" / "weights.pt")
    own = mcd.load_model(folds.files.named(), weights=folds.paths[0], members=[pattern])
    none = mcd.load_model(folds.files.named(), members=[pattern])
    expected = _table(mcd.Model(folds.nets))
    for model in (own, none):
        pd.testing.assert_frame_equal(_table(model), expected)


def test_a_file_that_describes_the_model_can_list_the_members(folds: Folds) -> None:
    path = folds.files.folder / "mcdropout.yaml"
    path.write_text(
        "model: net.py:Net\nweights: fold_0/weights.pt\nmembers: [fold_1/weights.pt, 'fold_2/*.pt']\n"
    )
    pd.testing.assert_frame_equal(_table(mcd.load_model(path)), _table(mcd.Model(folds.nets)))


def test_another_architecture_is_a_member_too(folds: Folds) -> None:
    narrow = folds.files.folder / "narrow.pt"
    torch.save(trained(7, n_filters=3).state_dict(), narrow)
    described = folds.files.folder / "narrow"
    described.mkdir()
    (described / "mcdropout.yaml").write_text(
        "model: ../net.py:Net\nweights: ../narrow.pt\nmodel_kwargs: {n_filters: 3}\n"
    )
    model = mcd.load_model(folds.files.named(), weights=folds.paths[0], members=[described])
    expected = _table(mcd.Model([folds.nets[0], trained(7, n_filters=3)]))
    pd.testing.assert_frame_equal(_table(model), expected)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["fold_9/weights.pt"], r"weights of a member, .*fold_9.*are not there"),
        (["nothing_*.pt"], r"pattern of members .* matches no file.*quotation marks"),
        (["fold_0/weights.pt"], r"has the same weights and code as member 1"),
        (["fold_1/weights.pt", "fold_1/weights.pt"], r"the same weights and code as member 2"),
        ([3], "members must be texts"),
    ],
)
def test_bad_members_are_refused_by_name(
    folds: Folds, members: list[object], message: str
) -> None:
    inside = [str(folds.files.folder / m) if isinstance(m, str) else m for m in members]
    with pytest.raises(InputError, match=message):
        mcd.load_model(folds.files.named(), weights=folds.paths[0], members=inside)


def test_a_kipoi_model_takes_other_weights(toy_folder: Path, tmp_path: Path) -> None:
    plain = mcd.load_model(toy_folder, source="dir")
    state = {k: v * 1.5 for k, v in plain.adapter.locked.module.state_dict().items()}
    torch.save(state, tmp_path / "fold_1.pt")
    model = mcd.load_model(toy_folder, source="dir", members=[tmp_path / "fold_1.pt"])
    assert len(model.ensemble) == 2
    second = next(m for m in model.ensemble.members if m is not model.ensemble.first)
    for name, value in second.locked.module.state_dict().items():
        assert torch.equal(value, state[name])


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from toy import make_toy

    return make_toy(tmp_path_factory.mktemp("toy")).model


def test_a_vcf_is_scored_under_members_here_and_in_other_processes(
    folds: Folds, tmp_path: Path
) -> None:
    from variant_world import info, random_sequence, write_fasta, write_vcf

    genome = random_sequence(200, 1)
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": genome})
    alts = {"A": "C", "C": "G", "G": "T", "T": "A"}
    records = [f"chr1 {p} . {genome[p - 1]} {alts[genome[p - 1]]} . . ." for p in (60, 90, 120)]
    vcf = write_vcf(tmp_path / "in.vcf", records, {"chr1": 200})
    words = [
        folds.files.named(), "--weights", str(folds.paths[0]), "--members",
        str(folds.files.folder / "fold_*/weights.pt"), "--input_shape", f"4,{LENGTH}", "-i", str(vcf),
        "-f", str(fasta),
    ]  # fmt: skip
    tables = []
    for name, more in (("here", []), ("there", ["--scheduler", "local:1"])):
        out, table = tmp_path / f"{name}.vcf", tmp_path / f"{name}.parquet"
        fields = ["--vcf_statistics", "effect_mean", "effect_sd_between", "sign_agreement"]
        code = score_variants.main([*words, *more, "-o", str(out), "-t", str(table), *fields])
        assert code == 0
        tables.append(pd.read_parquet(table))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert (tables[0]["n_draws"] == 30).all()
    model = mcd.Model(folds.nets, input_shape=(4, LENGTH))
    called = mcd.score_variants(model, vcf, fasta, n_draws=30).table()
    for column in ("effect_sd", "effect_sd_within", "effect_sd_between", "sign_agreement"):
        np.testing.assert_array_equal(called[column], tables[0][column])
    lines = (tmp_path / "here.vcf").read_text().splitlines()
    line = next(line for line in lines if not line.startswith("#"))
    between = float(info(line)["MCD_diff_0_effect_sd_between"])
    first = tables[0].query("output == '0'").iloc[0]
    assert between == pytest.approx(first["effect_sd_between"], rel=1e-5)


def test_statistics_of_members_need_members(folds: Folds, tmp_path: Path) -> None:
    from variant_world import random_sequence, write_fasta, write_vcf

    genome = random_sequence(100, 1)
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": genome})
    vcf = write_vcf(tmp_path / "in.vcf", [f"chr1 50 . {genome[49]} N . . ."], {"chr1": 100})
    model = mcd.Model(folds.nets[0], input_shape=(4, LENGTH))
    with pytest.raises(OutputError, match=r"effect_sd_between need a model with several members"):
        mcd.score_variants(
            model, vcf, fasta, n_draws=2, output=tmp_path / "o.vcf",
            vcf_options=mcd.VcfOptions(statistics=["effect_sd_between"]),
        )  # fmt: skip
