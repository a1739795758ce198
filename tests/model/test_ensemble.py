"""Several members of a model, from Python to files: their order, their files, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_models import LENGTH, Linear, NoDropout, array, fixed, one_hot, with_schema
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.effects.saturation import IsmOptions, SaturationMutagenesis
from kipoi_mcdropout.effects.scores import SCORES
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.errors import InputError, NonFiniteOutputError, NoRandomSiteError, OutputError
from kipoi_mcdropout.files.read import read_effects, read_member_means
from kipoi_mcdropout.significance.calibration import with_spread


def _nets(n: int, kind: type[nn.Module] = Linear, **keywords: Any) -> list[nn.Module]:
    return [fixed(kind(**keywords), seed) for seed in range(n)]


def _ism(members: list[nn.Module], **keywords: Any) -> mcd.Effects:
    options = mcd.MutationOptions(start=3, end=9, **keywords.pop("options", {}))
    return mcd.ism(mcd.Model(members), one_hot(2), options=options, **keywords)


def test_a_list_of_one_is_the_model_alone_bit_for_bit() -> None:
    net = fixed(Linear())
    alone = mcd.ism(mcd.Model(net), one_hot(1), n_draws=4).table()
    pd.testing.assert_frame_equal(mcd.ism(mcd.Model([net]), one_hot(1), n_draws=4).table(), alone)
    assert "effect_sd_within" not in alone


def test_the_order_in_which_members_are_given_changes_no_bit() -> None:
    nets = _nets(3)
    first, again = _ism(nets, n_draws=6), _ism(nets[::-1], n_draws=6)
    pd.testing.assert_frame_equal(first.table(), again.table())
    np.testing.assert_array_equal(first.member_means(), again.member_means())


def test_the_parts_stand_in_the_table_and_add_up() -> None:
    table = _ism(_nets(3), n_draws=12).table()
    parts = table["effect_sd_within"] ** 2 + table["effect_sd_between"] ** 2
    whole = table["effect_sd_between"] > 0
    assert whole.mean() > 0.5
    np.testing.assert_allclose(parts[whole], table["effect_sd"][whole] ** 2, rtol=1e-4)
    assert table["sign_agreement"].between(0, 1).all()


def test_members_without_dropout_are_their_own_draws() -> None:
    nets = _nets(4, NoDropout)
    effects = _ism(nets)
    assert effects.n_draws == 4, "the default is a draw of each"
    means = np.stack([_ism_point(net) for net in nets])
    table = effects.table()
    np.testing.assert_allclose(table["effect_mean"], means.mean(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(table["effect_sd"], means.std(0, ddof=1), rtol=1e-4)


def _ism_point(net: nn.Module) -> np.ndarray:
    options = mcd.MutationOptions(start=3, end=9)
    effects = mcd.ism(mcd.Model(net), one_hot(2), n_draws=0, options=options)
    return effects.table()["effect_point"].to_numpy(float)


def test_without_a_number_of_draws_each_member_with_dropout_has_as_many() -> None:
    assert _ism(_nets(4)).n_draws == 32
    assert mcd.ism(mcd.Model(fixed(Linear())), one_hot(1)).n_draws == 30


def test_one_network_without_dropout_is_told_of_members() -> None:
    with pytest.raises(NoRandomSiteError, match="--member"):
        mcd.ism(mcd.Model(fixed(NoDropout())), one_hot(1))


def test_every_format_has_the_same_rows(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.h5", "a.tsv", "a.parquet")]
    effects = _ism(_nets(3), n_draws=6, output=paths)
    tables = [read_effects(path) for path in paths]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=False, rtol=1e-6)
    means = read_member_means(paths[0])
    assert means.shape == (3, len(tables[0]))
    np.testing.assert_allclose(means.mean(0), tables[0]["effect_mean"], rtol=1e-4, atol=1e-7)
    assert len(effects.members) == 3
    record = effects.provenance["members"]
    assert [member["weights_sha256"] for member in record] == sorted(
        member["weights_sha256"] for member in record
    )
    with pytest.raises(InputError, match="--member_means"):
        read_member_means(paths[1])


def test_another_member_is_another_run(tmp_path: Path) -> None:
    path, nets = tmp_path / "a.h5", _nets(3)
    _ism(nets[:2], n_draws=4, output=path)
    running = mcd.RunOptions(resume=True)
    with pytest.raises(OutputError, match="they differ in: members"):
        _ism([nets[0], nets[2]], n_draws=4, output=path, running=running)


def test_full_and_incremental_engines_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[object] = []
    run = IncrementalEngine.run

    def counted(self: IncrementalEngine, *words: Any) -> Any:
        ran.append(self.model.module)
        return run(self, *words)

    monkeypatch.setattr(IncrementalEngine, "run", counted)
    tables = [
        _ism(_nets(2), n_draws=4, running=mcd.RunOptions(engine=engine)).table()
        for engine in ("full", "incremental")
    ]
    assert len(set(ran)) == 2, "each member ran in the incremental engine"
    scale = tables[0]["effect_mean"].abs().max()
    for name in ("effect_mean", "effect_sd", "effect_sd_within", "effect_sd_between"):
        np.testing.assert_allclose(tables[1][name], tables[0][name], atol=1e-5 * scale)


def test_members_that_do_not_fit_are_refused_by_name() -> None:
    nets = _nets(2)
    with pytest.raises(InputError, match=r"member 3 has the same weights and code as member 1"):
        mcd.Model([*nets, nets[0]])
    with pytest.raises(InputError, match=r"the same outputs; member 2 has 5 .* the first model has 3"):
        _ism([nets[0], fixed(Linear(n_outputs=5))], n_draws=4)
    with pytest.raises(InputError, match=r"multiple of the number of members, 2"):
        _ism(nets, n_draws=5)
    with pytest.raises(InputError, match="at least one model"):
        mcd.Model([])
    other = with_schema(fixed(Linear(), 3), array("A", "B", "C"), array(name="dna", shape=(4, LENGTH)))
    first = with_schema(nets[0], array("A", "B", "C"), array(name="seq", shape=(4, LENGTH)))
    with pytest.raises(InputError, match=r"the same inputs; member 1 takes 'seq'.*member 2 'dna'"):
        mcd.Model([first, other])


def test_members_with_other_labels_are_refused() -> None:
    first, second = (
        with_schema(net, array(*labels)) for net, labels in zip(_nets(2), ("ABC", "ACB"), strict=True)
    )
    with pytest.raises(InputError, match=r"same outputs in the .* member 2 has 'C' where .* 'B'"):
        mcd.ism(mcd.Model([first, second]), one_hot(1), n_draws=4)


def test_predictions_have_the_parts_too(tmp_path: Path) -> None:
    nets, x = _nets(3), one_hot(2)
    got = mcd.mc_predict(mcd.Model(nets), x, n_draws=12, keep_draws=True)
    assert got.draws is not None
    assert got.var_within is not None
    assert got.var_between is not None
    each = got.draws.astype(float).reshape(4, 3, 2, 3)  # draw d is of member d mod 3
    within = each.var(axis=0, ddof=1).mean(axis=0)
    between = np.maximum(each.mean(axis=0).var(axis=0, ddof=1) - within / 4, 0)
    np.testing.assert_allclose(got.var_within, within, rtol=1e-3)
    np.testing.assert_allclose(got.var_between, between, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(got.mean, each.mean(axis=(0, 1)), rtol=1e-4)
    got.save([tmp_path / "p.h5", tmp_path / "p.tsv"])
    table = pd.read_table(tmp_path / "p.tsv", skiprows=1)
    np.testing.assert_allclose(table["var_within"], got.var_within.ravel(), rtol=1e-4)


def test_predictions_of_members_without_dropout() -> None:
    nets, x = _nets(3, NoDropout), one_hot(2)
    got = mcd.mc_predict(mcd.Model(nets), x)
    points = np.stack([mcd.mc_predict(net, x, n_draws=0).point for net in nets])
    assert got.n_draws == 3
    np.testing.assert_allclose(got.sd, points.std(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(got.point, points.mean(axis=0), rtol=1e-12)


def test_calibration_takes_each_part_of_the_spread() -> None:
    table = _ism(_nets(3), n_draws=12).table(outputs=[0])
    for part in ("within", "between"):
        np.testing.assert_array_equal(with_spread(table, part)["effect_sd"], table[f"effect_sd_{part}"])
    assert with_spread(table, "total") is table
    alone = _ism([fixed(Linear())], n_draws=4).table()
    with pytest.raises(InputError, match="one member alone"):
        with_spread(alone, "between")


class Nan(Linear):
    """Gives no number at all."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


@pytest.mark.parametrize("others", [0, 1])
def test_members_with_and_without_dropout_in_one_model_by_any_engine(others: int) -> None:
    """Each unit has over 200 forward passes, so that the engine is chosen by a trial."""
    nets = [*_nets(others, Linear), *(fixed(NoDropout(3), seed) for seed in range(5, 8 - others))]
    n_draws, options = 12, mcd.MutationOptions(keep_draws=True)

    def ism(engine: str) -> mcd.Effects:
        running = mcd.RunOptions(engine=engine)
        return mcd.ism(mcd.Model(nets), one_hot(1), n_draws=n_draws, options=options, running=running)

    auto, full = ism("auto"), ism("full")
    each = full.draws().astype(float).reshape(4, 3, -1)  # draw d is of member d mod 3
    n_random = int((each.std(axis=0) > 0).any(axis=1).sum())
    assert n_random == others
    for effects in (auto, full):
        table = effects.table()
        within = each.var(axis=0, ddof=1).mean(axis=0)
        between = each.mean(axis=0).var(axis=0, ddof=1) - within / 4
        np.testing.assert_allclose(table["effect_sd_within"], np.sqrt(within), rtol=1e-3, atol=1e-8)
        np.testing.assert_allclose(table["effect_sd"], np.sqrt(within + between), rtol=1e-3)


def test_an_error_of_a_member_names_it() -> None:
    with pytest.raises(NonFiniteOutputError, match="member 2: the model gives NaN or infinity in all 3"):
        _ism([fixed(Linear()), fixed(Nan(), 1)], n_draws=4)


def test_draws_that_cannot_be_shared_out_stop_the_run_before_a_file_is_made(tmp_path: Path) -> None:
    running = mcd.RunOptions(on_error="skip")
    with pytest.raises(InputError, match=r"^n_draws must be a multiple of the number of members, 2"):
        _ism(_nets(2), n_draws=5, output=tmp_path / "a.h5", running=running)
    assert not list(tmp_path.iterdir())


def test_a_run_is_resumed_with_its_members_in_another_order(tmp_path: Path) -> None:
    path, nets = tmp_path / "a.h5", _nets(3)
    first = _ism(nets, n_draws=6, output=path).table()
    running = mcd.RunOptions(resume=True)
    again = _ism([nets[0], nets[2], nets[1]], n_draws=6, output=path, running=running)
    pd.testing.assert_frame_equal(again.table(), first)


def test_progress_ends_where_it_says() -> None:
    nets = [*_nets(2), fixed(NoDropout(3), 4)]
    options = IsmOptions(None, EffectOptions((SCORES["diff"],), 6))
    seen: list[tuple[int, int]] = []
    mutagenesis = SaturationMutagenesis(mcd.Model(nets).ensemble, options)
    list(mutagenesis.run(one_hot(1), lambda done, total: seen.append((done, total))))
    assert {sum(done for done, _ in seen)} == {total for _, total in seen}


def test_members_that_disagree_about_a_sign() -> None:
    """Effects +1 and -1 have the mean 0, which has no sign to agree with."""
    nets = _nets(1, NoDropout)
    turned = fixed(NoDropout())
    for parameter in turned.parameters():
        parameter.data.neg_()
    table = _ism([*nets, turned]).table()
    np.testing.assert_array_equal(table["effect_mean"], 0)
    np.testing.assert_array_equal(table["sign_agreement"], 0.5)


def test_xarray_has_the_means_of_the_members_by_name() -> None:
    effects = _ism(_nets(3), n_draws=6)
    data = effects.to_xarray(outputs=[1])
    assert tuple(data["member"].to_numpy()) == effects.members
    of_cell = data["effect_member_mean"].isel(sequence=0, output=0).to_numpy()
    kept = of_cell[~np.isnan(of_cell).any(axis=-1)]
    np.testing.assert_array_equal(kept, effects.member_means(outputs=[1])[:, : len(kept)].T)
    assert "6 draws of 3 members, seed 0" in repr(effects)
