"""A model that computes in bfloat16: torch's autocast, under the same masks, and only where asked."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import Linear, fixed, one_hot, with_schema
from torch import Tensor, nn
from toy import Toy, make_toy
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli.commands import ism, predict, score_variants
from kipoi_mcdropout.dropout.autocast import Autocast
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import keep_mask
from kipoi_mcdropout.engine.dtype_check import check_dtype_error
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.fingerprint import fingerprint
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

BFLOAT16_EPS = 2.0**-7
SEED, P = 3, 0.3
FULL = mcd.RunOptions(engine="full")


class Functions(nn.Module):
    """A network without modules inside: linear, ReLU, dropout, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(24, 160))
        self.second = nn.Parameter(torch.empty(3, 24))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x.flatten(1), self.first).relu()
        return F.linear(F.dropout(x, P, self.training), self.second).float()


def in_bfloat16(net: nn.Module) -> LockedModel:
    return LockedModel(net, autocast=Autocast(net, "bfloat16"))


def test_it_is_torchs_autocast_under_the_same_mask() -> None:
    net = fixed(Linear(p=P))
    x = torch.from_numpy(one_hot(5))
    keep = torch.from_numpy(keep_mask(SEED, 0, 0, (1, 24), P))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = net.body[1](x.flatten(1))
        by_hand = net.body[3](hidden * (keep.to(hidden.dtype) / (1 - P)))
    assert by_hand.dtype == torch.bfloat16
    model = in_bfloat16(net)
    with model.borrow():
        got = model.outputs(x, 0, MaskBank(SEED))
        exact = LockedModel(net).outputs(x, 0, MaskBank(SEED))
    assert got.dtype == torch.float32
    assert torch.equal(got, by_hand.float())
    assert not torch.equal(got, exact)


def test_the_sites_are_the_same() -> None:
    net, x = fixed(Linear(p=P)), torch.from_numpy(one_hot(5))
    model = in_bfloat16(net)
    with model.borrow():
        assert model.plan(x).sites == LockedModel(net).plan(x).sites


@pytest.mark.parametrize("net", [Linear(p=P), Functions()])
def test_the_precision_is_known_also_where_no_module_shows_it(net: nn.Module) -> None:
    model, x = in_bfloat16(fixed(net)), torch.from_numpy(one_hot(5))
    with model.borrow():
        model.outputs(x, 0, MaskBank(SEED))
    assert model.eps == BFLOAT16_EPS


def test_own_types_are_those_of_the_model() -> None:
    net, x = fixed(Linear(p=P)), torch.from_numpy(one_hot(5))
    model = in_bfloat16(net)
    with model.borrow():
        rounded = model.outputs(x, 0, MaskBank(SEED))
        with model.own_types():
            own = model.outputs(x, 0, MaskBank(SEED))
        assert torch.equal(own, LockedModel(net).outputs(x, 0, MaskBank(SEED)))
        assert torch.equal(rounded, model.outputs(x, 0, MaskBank(SEED)))


def test_a_base_mutated_to_itself_has_no_effect() -> None:
    model = mcd.Model(fixed(Linear(p=P))).with_dtype("bfloat16")
    options = mcd.MutationOptions(5, 15, include_reference=True)
    table = mcd.ism(model, one_hot(1), n_draws=6, options=options).table()
    same = table["ref"] == table["alt"]
    assert same.sum() == 10 * 3
    assert not table.loc[same, ["effect_mean", "effect_sd", "effect_point"]].to_numpy().any()
    assert (table.loc[same, "prob_positive"] == 0.5).all()
    assert table.loc[~same, "effect_sd"].to_numpy().any()
    assert (table["output_eps"] == BFLOAT16_EPS).all()  # what is only rounding follows from it


def test_the_result_says_it_and_a_run_of_another_type_is_another_run() -> None:
    records = {}
    for dtype in ("float32", "bfloat16"):
        effects = mcd.ism(
            mcd.Model(fixed(Linear(p=P))).with_dtype(dtype), one_hot(1), n_draws=4,
            options=mcd.MutationOptions(0, 5), running=FULL,
        )  # fmt: skip
        records[dtype] = effects.provenance
        assert effects.provenance["options"]["dtype"] == dtype
    prints = {name: fingerprint(record) for name, record in records.items()}
    different = {k for k in prints["float32"] if prints["float32"][k] != prints["bfloat16"][k]}
    assert {"dtype"} <= different <= {"dtype", "notes"}
    assert "dtype_check" not in records["float32"]
    check = records["bfloat16"]["dtype_check"]
    assert (check["n_mutants"], check["n_draws"]) == (2, 2)
    assert 0 < check["output_error"] < 0.1


def test_nothing_is_compared_without_verify() -> None:
    running = mcd.RunOptions(verify=False)
    model = mcd.Model(fixed(Linear(p=P))).with_dtype("bfloat16")
    effects = mcd.ism(
        model, one_hot(1), n_draws=4, options=mcd.MutationOptions(0, 5), running=running
    )
    assert "dtype_check" not in effects.provenance


def test_the_errors_are_those_worked_out_from_the_outputs() -> None:
    net = fixed(Linear(p=P))
    layout = OneHotLayout(one_hot(1).shape[1:], 0)
    batch = example_batch(one_hot(1), None, layout, 5)
    model, masks = in_bfloat16(net), MaskBank(SEED)
    x = torch.from_numpy(np.concatenate([batch.references, batch.inputs(slice(0, 5))]))
    with model.borrow():
        found = check_dtype_error(model, masks, batch, range(4))
        rounded = torch.stack([model.outputs(x, d, masks) for d in range(4)]).double().numpy()
        exact = torch.stack([LockedModel(net).outputs(x, d, masks) for d in range(4)]).double().numpy()
    effects, true = (y[:, 1:] - y[:, :1] for y in (rounded, exact))

    def rms(values: np.ndarray) -> np.ndarray:
        return np.sqrt((values**2).mean(axis=tuple(range(values.ndim - 1))))

    sd = rms(true.std(axis=0, ddof=1))
    largest = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert found.output_error == pytest.approx(largest, rel=1e-3)
    assert found.effect_error == pytest.approx(np.median(rms(effects - true) / rms(true)), rel=1e-3)
    assert found.effect_error_in_sd == pytest.approx(np.median(rms(effects - true) / sd), rel=1e-3)
    means = rms(effects.mean(axis=0) - true.mean(axis=0))
    assert found.mean_error_in_sd == pytest.approx(np.median(means / sd), rel=1e-3)
    assert "bfloat16 against float32, on 5 mutants" in str(found)


def test_with_dropout_off_there_is_no_sd_to_compare_with() -> None:
    layout = OneHotLayout(one_hot(1).shape[1:], 0)
    batch = example_batch(one_hot(1), None, layout, 5)
    model = in_bfloat16(fixed(Linear(p=P)))
    with model.borrow():
        found = check_dtype_error(model, MaskBank(SEED), batch, [POINT])
    assert found.n_draws == 0
    assert found.effect_error > 0
    assert found.to_dict()["effect_error_in_sd"] is None


def test_auto_takes_whole_inputs() -> None:
    model = mcd.Model(fixed(Linear(p=P))).with_dtype("bfloat16")
    effects = mcd.ism(model, one_hot(1), n_draws=4)
    assert effects.provenance["options"]["engine_used"] == "full"
    assert "bfloat16 is computed on whole inputs" in effects.provenance["engine_reason"]


def test_the_incremental_engine_is_refused() -> None:
    model = mcd.Model(fixed(Linear(p=P))).with_dtype("bfloat16")
    with pytest.raises(InputError, match="engine 'incremental' computes in the model's own types"):
        mcd.ism(model, one_hot(1), n_draws=4, running=mcd.RunOptions(engine="incremental"))


def test_other_weights_and_other_names_are_refused() -> None:
    with pytest.raises(InputError, match="weights of float32; this one has float64"):
        mcd.Model(Linear().double()).with_dtype("bfloat16")
    with pytest.raises(InputError, match="must be one of float32, bfloat16; got 'float16'"):
        mcd.Model(Linear()).with_dtype("float16")


def test_a_model_that_predicts_by_code_of_its_own_is_refused() -> None:
    class Own:
        model = Linear()

        def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
            return self.model(torch.from_numpy(x)).detach().numpy()

    with pytest.raises(InputError, match="predict_on_batch of its own"):
        mcd.Model(Own()).with_dtype("bfloat16")


def test_a_selection_of_outputs_takes_them_as_float32() -> None:
    model = mcd.Model.of(
        with_schema(fixed(Linear(p=P)), None), mcd.Model(Linear()).with_dtype("bfloat16").settings,
        lambda row: row[:2],
    )  # fmt: skip
    x = torch.from_numpy(one_hot(3))
    with model.adapter.locked.borrow():
        outputs = model.adapter.locked.outputs(x, 0, MaskBank(SEED))
        whole = in_bfloat16(model.adapter.locked.module).outputs(x, 0, MaskBank(SEED))
    assert outputs.shape == (3, 2)
    assert torch.equal(outputs, whole[:, :2])


def test_outputs_are_reduced_in_float32() -> None:
    net = fixed(Linear(n_outputs=64, p=P))
    x = torch.from_numpy(one_hot(3))
    model = mcd.Model(net).with_readout(reduce="sum").with_dtype("bfloat16").adapter.locked
    with model.borrow():
        whole = in_bfloat16(net).outputs(x, 0, MaskBank(SEED))
        assert torch.equal(model.outputs(x, 0, MaskBank(SEED)), whole.sum(dim=1, keepdim=True))


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return make_toy(tmp_path / "toy")


def test_commands_take_it(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        str(toy.model), "--dataloader_args", f"fasta_file={toy.fasta}", f"intervals_file={toy.bed}",
        "--n_draws", "4", "--dtype", "bfloat16",
    ]  # fmt: skip
    for command, more in ((ism, ["--end", "4"]), (predict, [])):
        output = tmp_path / f"{command.__name__.split('.')[-1]}.h5"
        assert command.main([*words, *more, "-o", str(output)]) == 0
        with h5py.File(output) as file:
            assert json.loads(file.attrs["provenance"])["options"]["dtype"] == "bfloat16"
    assert "bfloat16 against float32, on 2 mutants" in capsys.readouterr().err


def test_a_vcf_takes_it(tmp_path: Path) -> None:
    net = tiny_net()
    text = random_sequence(3 * LENGTH, 0)
    fasta = write_fasta(tmp_path / "genome.fa", {"chr1": text})
    place = LENGTH + LENGTH // 2
    alt = "C" if text[place] != "C" else "G"
    vcf = write_vcf(tmp_path / "in.vcf", [f"chr1 {place + 1} . {text[place]} {alt} . . ."])
    model = mcd.Model(net, input_shape=(4, LENGTH)).with_dtype("bfloat16")
    effects = mcd.score_variants(model, vcf, fasta, n_draws=4)
    assert effects.provenance["options"]["dtype"] == "bfloat16"
    assert effects.provenance["dtype_check"]["dtype"] == "bfloat16"
    with pytest.raises(InputError, match="engine 'incremental'"):
        mcd.score_variants(
            model, vcf, fasta, n_draws=4, running=mcd.RunOptions(engine="incremental")
        )
    assert score_variants.get_parser().parse_args(
        ["MODEL", "-i", "a", "-f", "b", "-o", "c", "--dtype", "bfloat16"]
    ).dtype == "bfloat16"  # fmt: skip
