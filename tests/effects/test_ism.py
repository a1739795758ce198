"""MCDropoutISM on what Kipoi gives: the statistics, the promises, every kind of input."""

from __future__ import annotations

from typing import Any

import kipoi
import numpy as np
import pytest
import torch
from kipoi_interpret.importance_scores.base import feature_importance
from kipoi_interpret.importance_scores.ism import Mutation
from torch import nn
from toy import LENGTH, Toy, ToyNet, make_toy

from kipoi_mcdropout import MCDropoutISM, locked_forward
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.errors import InputError, McDropoutError, NonFiniteOutputError, TargetError
from kipoi_mcdropout.plugin import register


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def model(toy: Toy) -> Any:
    return kipoi.get_model(str(toy.model), source="dir")


@pytest.fixture(scope="module")
def batch(toy: Toy, model: Any) -> dict[str, Any]:
    dataloader = model.default_dataloader(**toy.dataloader_args)
    return next(dataloader.batch_iter(batch_size=3))


def _by_hand(module: nn.Module, x: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Outputs of one sequence and of all its substitutions, (draws + 1, 1 + 4 L, outputs)."""
    rows = [x]
    for position in range(len(x)):
        for base in range(4):
            mutant = x.copy()
            mutant[position] = np.eye(4)[base]
            rows.append(mutant)
    inputs = torch.from_numpy(np.stack(rows))
    draws = (POINT, *range(n_draws))
    return np.stack([locked_forward(module, inputs, draw, seed).double().numpy() for draw in draws])


def test_every_statistic_equals_its_definition(model: Any, batch: dict[str, Any]) -> None:
    n_draws = 6
    scores = MCDropoutISM(
        model, "seq", ["diff", "logit"], n_draws=n_draws, seed=3, quantiles=[0.25], keep_draws=True
    ).score(batch["inputs"])
    x = batch["inputs"]["seq"][0]
    outputs = _by_hand(model.model, x, n_draws, 3)
    for name in ("diff", "logit"):
        values = outputs if name == "diff" else np.log(outputs / (1 - outputs))
        point, ref, alt = values[0], values[1:, :1], values[1:, 1:]
        effect = alt - ref
        expected = {
            "alt_mean": alt.mean(0),
            "alt_var": alt.var(0, ddof=1),
            "alt_point": point[1:],
            "ref_alt_cov": ((ref - ref.mean(0)) * (alt - alt.mean(0))).sum(0) / (n_draws - 1),
            "effect_mean": effect.mean(0),
            "effect_sd": effect.std(0, ddof=1),
            "effect_mcse": effect.std(0, ddof=1) / np.sqrt(n_draws),
            "effect_point": point[1:] - point[:1],
            "prob_positive": (effect > 1e-6).mean(0) / 2 + (effect > -1e-6).mean(0) / 2,
            "effect_q0.25": np.quantile(effect, 0.25, axis=0),
        }
        ours = scores[name]
        assert ours["ref_mean"][0] == pytest.approx(ref.mean(0)[0], abs=2e-6)
        assert ours["ref_var"][0] == pytest.approx(ref.var(0, ddof=1)[0], rel=1e-4)
        assert ours["ref_point"][0] == pytest.approx(point[0], abs=2e-6)
        mutated = x == 0
        for statistic, values in expected.items():
            got = ours[statistic][0]
            assert got.shape == (LENGTH, 4, 3)
            grid = values.reshape(LENGTH, 4, 3)
            np.testing.assert_allclose(got[mutated], grid[mutated], rtol=1e-4, atol=1e-6)
            assert np.isnan(got[~mutated]).all(), "the reference base is not mutated"
        draws = effect.reshape(n_draws, LENGTH, 4, 3)
        np.testing.assert_allclose(
            ours["effect_draws"][0][mutated], np.moveaxis(draws, 0, -1)[mutated], atol=1e-5
        )


def test_variance_of_the_difference_is_the_identity_of_the_sums(
    model: Any, batch: dict[str, Any]
) -> None:
    scores = MCDropoutISM(model, "seq", ["diff", "logit"], n_draws=9).score(batch["inputs"])
    for s in scores.values():
        ref_var = s["ref_var"][:, None, None, :]
        total = ref_var + s["alt_var"] - 2 * s["ref_alt_cov"]
        np.testing.assert_allclose(s["effect_sd"] ** 2, total, rtol=1e-9, atol=1e-15)
        independent = np.sqrt(ref_var + s["alt_var"])
        assert np.nanmedian(independent / s["effect_sd"]) > 3, "the covariance is what locking is for"


def test_a_reference_base_put_in_again_has_no_effect_at_all(model: Any, batch: dict[str, Any]) -> None:
    scores = MCDropoutISM(model, "seq", n_draws=4, test_ref_ref=True).score(batch["inputs"])["diff"]
    own = batch["inputs"]["seq"][0] == 1
    for statistic in ("effect_mean", "effect_sd", "effect_mcse", "effect_point"):
        assert (scores[statistic][0][own] == 0).all()
    assert (scores["prob_positive"][0][own] == 0.5).all()
    assert (scores["effect_sd"][0][~own] > 0).any()


def test_agrees_with_kipoi_interprets_mutation_where_dropout_is_off(
    model: Any, batch: dict[str, Any]
) -> None:
    one = {"seq": batch["inputs"]["seq"][:1]}
    theirs = Mutation(model, "seq", ["diff", "logit"]).score(one)[0]
    ours = MCDropoutISM(model, "seq", ["diff", "logit"], n_draws=2).score(one)
    for position in range(LENGTH):
        for base in range(4):
            for i, name in enumerate(("diff", "logit")):
                got = ours[name]["effect_point"][0, position, base]
                if theirs[position][base] is None:
                    assert np.isnan(got).all()
                else:
                    np.testing.assert_allclose(got, theirs[position][base][i], atol=2e-6)


def test_takes_the_arguments_of_mutation_in_its_order() -> None:
    import inspect

    theirs = list(inspect.signature(Mutation.__init__).parameters)
    ours = list(inspect.signature(MCDropoutISM.__init__).parameters)
    assert ours[: len(theirs)] == theirs
    assert issubclass(MCDropoutISM, Mutation)


def test_no_draws_gives_point_effects_only_also_without_dropout(
    model: Any, batch: dict[str, Any]
) -> None:
    full = MCDropoutISM(model, "seq", ["diff", "logit"], n_draws=3).score(batch["inputs"])
    point = MCDropoutISM(model, "seq", ["diff", "logit"], n_draws=0).score(batch["inputs"])
    still = ToyNet(p=0.0)
    still.load_state_dict(model.model.state_dict())
    deterministic = MCDropoutISM(still, "seq", ["diff", "logit"], n_draws=0).score(batch["inputs"])
    for score in ("diff", "logit"):
        for name in ("effect_point", "alt_point", "ref_point"):
            np.testing.assert_allclose(point[score][name], full[score][name], atol=1e-6)
            np.testing.assert_allclose(deterministic[score][name], full[score][name], atol=1e-6)
        assert np.isfinite(point[score]["effect_point"]).any()
        assert np.isnan(point[score]["effect_mean"]).all()
        assert np.isnan(point[score]["effect_sd"]).all()


@pytest.mark.parametrize("n_draws", [0, 4])
def test_engines_agree(model: Any, batch: dict[str, Any], n_draws: int) -> None:
    def run(engine: str) -> dict[str, np.ndarray]:
        return MCDropoutISM(model, "seq", n_draws=n_draws, engine=engine).score(batch["inputs"])["diff"]

    expected = run("full")
    for engine in ("auto", "incremental"):
        for name, values in run(engine).items():
            np.testing.assert_allclose(values, expected[name], atol=1e-6, err_msg=f"{engine} {name}")


def test_batch_size_order_and_split_do_not_matter(model: Any, batch: dict[str, Any]) -> None:
    x = batch["inputs"]["seq"]
    whole = MCDropoutISM(model, "seq", n_draws=4).score({"seq": x})["diff"]
    other = MCDropoutISM(model, "seq", n_draws=4, batch_size=7).score({"seq": x[::-1]})["diff"]
    alone = MCDropoutISM(model, "seq", n_draws=4, batch_size=301).score({"seq": x[1:2]})["diff"]
    for statistic, values in whole.items():
        np.testing.assert_allclose(other[statistic][::-1], values, atol=1e-6)
        np.testing.assert_allclose(alone[statistic][0], values[1], atol=1e-6)


def test_a_run_is_a_function_of_its_seed(model: Any, batch: dict[str, Any]) -> None:
    def sd(seed: int) -> np.ndarray:
        return MCDropoutISM(model, "seq", n_draws=4, seed=seed).score(batch["inputs"])["diff"][
            "effect_sd"
        ]

    np.testing.assert_array_equal(sd(1), sd(1))
    assert not np.allclose(sd(1), sd(2), equal_nan=True)


def test_mask_scope_sequence_gives_each_sequence_masks_of_its_own(model: Any) -> None:
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (2, LENGTH))]
    x = np.concatenate([x, x[:1]])
    run = MCDropoutISM(model, "seq", n_draws=5).score({"seq": x})["diff"]["effect_sd"]
    own = MCDropoutISM(model, "seq", n_draws=5, mask_scope="sequence")
    alone = own.score({"seq": x[1:2]})["diff"]["effect_sd"]
    own_sd = own.score({"seq": x})["diff"]["effect_sd"]
    np.testing.assert_array_equal(own_sd[0], own_sd[2])  # equal sequences, equal masks
    np.testing.assert_array_equal(own_sd[1], alone[0])  # whatever else is in the run
    assert not np.allclose(run, own_sd, equal_nan=True)


class _Generic(nn.Module):
    """Reads (n, 4, L) from an array of any layout, with an extra input, in list, dict or array form."""

    def __init__(self, axis: int, extra: bool = False) -> None:
        super().__init__()
        self.axis, self.extra = axis, extra
        self.dense = nn.Linear(4 * 6 + extra, 5)
        self.out = nn.Linear(5, 2)

    def forward(self, seq: torch.Tensor, extra: torch.Tensor | None = None) -> Any:
        x = seq.movedim(self.axis + 1, 1).flatten(1)
        if extra is not None:
            x = torch.cat([x, extra], dim=1)
        x = torch.relu(self.dense(x))
        x = torch.nn.functional.dropout(x, 0.5, self.training)
        return {"a": self.out(x), "b": [x]}


@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 1), ((4, 6), 0), ((4, 1, 6), 0), ((1, 6, 4), 2)])
def test_every_layout_gives_the_same_effects(shape: tuple[int, ...], axis: int) -> None:
    torch.manual_seed(0)
    net = _Generic(axis)
    codes = np.random.default_rng(0).integers(0, 4, 6)
    one_hot = np.eye(4, dtype=np.float32)[codes]
    x = np.moveaxis(one_hot.reshape(*[s for i, s in enumerate(shape) if i != axis], 4), -1, axis)[None]
    scores = MCDropoutISM(net, 0, category_axis=axis, n_draws=3, targets=["a/*"]).score(x)["diff"]
    assert scores["effect_mean"].shape == (1, *shape, 2)
    # The layouts flatten categories first, position second: compare with the (4, L) one.
    base = _Generic(0)
    base.load_state_dict(net.state_dict())
    expected = MCDropoutISM(base, 0, category_axis=0, n_draws=3, targets=["a/*"]).score(
        one_hot.T[None].copy()
    )["diff"]["effect_mean"][0]
    got = np.moveaxis(scores["effect_mean"][0], axis, 0).reshape(4, 6, 2)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("form", ["dict", "list"])
def test_models_with_further_inputs(form: str) -> None:
    torch.manual_seed(0)
    net = _Generic(1, extra=True)
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (2, 6))]
    extra = np.array([[0.0], [3.0]], np.float32)
    inputs: Any = {"seq": x, "extra": extra} if form == "dict" else [x, extra]
    name: Any = "seq" if form == "dict" else 0
    scorer = MCDropoutISM(net, name, n_draws=3)
    effects = scorer.score(inputs)["diff"]["effect_mean"]
    assert scorer.output_labels(inputs) == ("a/0", "a/1", *[f"b/0/{i}" for i in range(5)])
    other = scorer.score({**inputs, "extra": extra[::-1]} if form == "dict" else [x, extra[::-1]])
    assert not np.allclose(effects, other["diff"]["effect_mean"], equal_nan=True)
    assert inputs["seq" if form == "dict" else 0] is x, "the user's batch is not changed"


def test_output_sel_fn_selects_before_scoring(model: Any, batch: dict[str, Any]) -> None:
    chosen = MCDropoutISM(model, "seq", n_draws=3, output_sel_fn=lambda y: y[1:]).score(batch["inputs"])
    target = MCDropoutISM(model, "seq", n_draws=3, targets=[1, 2]).score(batch["inputs"])
    np.testing.assert_allclose(chosen["diff"]["effect_sd"], target["diff"]["effect_sd"], atol=1e-6)
    assert chosen["diff"]["effect_sd"].shape[-1] == 2


def test_feature_importance_of_kipoi_interpret_runs_it(toy: Toy, model: Any) -> None:
    dataloader = model.default_dataloader(**toy.dataloader_args)
    register()
    arguments = {"model_input": "seq", "n_draws": 2, "targets": "DNase"}
    result = feature_importance(model, dataloader, "mcdropout_ism", arguments, batch_size=2)
    assert result["importance_scores"]["diff"]["effect_sd"].shape == (3, LENGTH, 4, 1)
    assert list(result["metadata"]["ranges"]["id"]) == ["region0", "region1", "region2"]


def test_saturated_logits_and_non_finite_outputs_are_counted_not_averaged() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = self.drop(torch.ones_like(x[:, :, :1]))[:, 0, 0]  # 0 or 2, the same for all
            first = x[:, 0, 0]  # 1 where the first base is A
            probability = torch.where(first > 0, 0.5 * kept, torch.full_like(first, 0.25))
            broken = torch.where((first > 0) & (kept > 1), torch.nan, 0.5)
            return torch.stack([probability, broken], dim=1)

    x = np.eye(4, dtype=np.float32)[[[1, 2]]]  # C G: A at the first position is a mutant
    n_draws = 8
    keeps = locked_forward(Steps(), torch.from_numpy(np.eye(4, dtype=np.float32)[[[0, 2]]]), 0, 0)
    assert keeps.shape == (1, 2)
    scores = MCDropoutISM(Steps(), 0, ["logit", "diff"], n_draws=n_draws).score(x)
    logit, diff = scores["logit"], scores["diff"]
    a = (0, 0, 0)
    assert logit["n_saturated"][(*a, 0)] == n_draws  # 0 or 1 in every draw
    assert np.isnan(logit["effect_mean"][(*a, 0)])
    assert np.isfinite(diff["effect_mean"][(*a, 0)])
    n_bad = diff["n_nonfinite"][(*a, 1)]
    assert 0 < n_bad < n_draws
    assert np.isnan(diff["effect_mean"][(*a, 1)])
    assert np.isnan(diff["prob_positive"][(*a, 1)])
    assert diff["n_nonfinite"][0, 1, 0, 1] == 0
    assert diff["effect_mean"][0, 1, 0, 1] == 0


def test_a_logit_of_what_is_no_probability_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Dropout(), nn.Linear(4, 1))
    x = np.eye(4, dtype=np.float32)[[[0, 1, 2]]]
    with torch.no_grad():
        net[3].bias += 5
    with pytest.raises(InputError, match="between 0 and 1"):
        MCDropoutISM(net, 0, ["logit"]).score(x)


def test_a_reference_that_gives_nan_is_an_error() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(x.flatten(1), 0.5) / 0 - np.inf

    with pytest.raises(NonFiniteOutputError, match="reference sequence"):
        MCDropoutISM(Broken(), 0, category_axis=1).score(np.eye(4, dtype=np.float32)[None])


def test_the_model_is_borrowed(model: Any, batch: dict[str, Any]) -> None:
    module = model.model
    module.train()
    module.conv.eval()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    scorer = MCDropoutISM(model, "seq", n_draws=2)
    scorer.score(batch["inputs"])
    with pytest.raises(TargetError):
        MCDropoutISM(model, "seq", n_draws=2, targets=["nothing"]).score(batch["inputs"])
    stream = scorer.effects(batch["inputs"])
    next(stream)
    assert module.training, "between two results the model is the user's"
    assert module.training
    assert not module.conv.training
    assert module.drop.training
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert not module._forward_hooks
    assert not module.drop._forward_pre_hooks
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    module.eval()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_input": "dna"}, "model_input must name one of the model's inputs: seq; got 'dna'"),
        ({"n_draws": 1}, "n_draws must be at least 2"),
        ({"n_draws": -5}, "n_draws must be at least 2"),
        ({"n_draws": 2.5}, "n_draws must be an integer"),
        ({"seed": -1}, "seed must satisfy"),
        ({"seed": "x"}, "seed must be an integer"),
        ({"scores": ["nope"]}, "score must be one of ref, alt, diff"),
        ({"scores": []}, "at least one score"),
        ({"scores": ["diff", "diff"]}, "each score can be given only once"),
        ({"score_kwargs": [{}, {}]}, "one dict per score"),
        ({"targets": ["CTCF"]}, "names none of the model's 3 outputs"),
        ({"start": 5, "end": 3}, "0 <= start < end"),
        ({"end": 99}, "0 <= start < end <= 24"),
        ({"category_axis": 0}, "one-hot along axis 0"),
        ({"category_axis": 7}, "category_axis must be an axis"),
        ({"mask_scope": "batch"}, "mask_scope must be"),
        ({"quantiles": [2.0]}, "quantiles must lie between 0 and 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"engine": "warp"}, "engine must be one of"),
    ],
)
def test_bad_arguments_say_what_was_required_and_what_came(
    model: Any, batch: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    arguments = {"model_input": "seq", "n_draws": 2, **change}
    with pytest.raises(McDropoutError, match=message.replace("(", r"\(")):
        MCDropoutISM(model, **arguments).score(batch["inputs"])


def test_only_models_with_a_torch_module_are_compatible(model: Any) -> None:
    class Keras:
        model = None

    assert MCDropoutISM.is_compatible(model)
    assert not MCDropoutISM.is_compatible(Keras())
    with pytest.raises(McDropoutError, match=r"PyTorch model is required.*got Keras"):
        MCDropoutISM(Keras(), "seq")


def test_nan_weights_are_named() -> None:
    net = ToyNet()
    net.dense.weight.data[0, 0] = float("nan")
    with pytest.raises(McDropoutError, match=r"'dense\.weight' has 1 NaN"):
        MCDropoutISM(net, "seq")


def test_a_window_without_any_base_is_an_error(model: Any) -> None:
    x = np.zeros((1, LENGTH, 4), np.float32)
    with pytest.raises(InputError, match="can be mutated"):
        MCDropoutISM(model, "seq", n_draws=2).score({"seq": x})


def test_a_model_with_its_own_predict_on_batch_is_run_by_it() -> None:
    class Doubling(kipoi.model.PyTorchModel):
        def predict_on_batch(self, x: Any) -> Any:
            return 2 * super().predict_on_batch(x)

    net = ToyNet()
    model = object.__new__(Doubling)
    model.model, model.use_cuda = net, False
    x = {"seq": np.eye(4, dtype=np.float32)[np.zeros((1, LENGTH), int)]}
    double = MCDropoutISM(model, "seq", n_draws=3).score(x)["diff"]["effect_sd"]
    single = MCDropoutISM(net, "seq", n_draws=3).score(x)["diff"]["effect_sd"]
    np.testing.assert_allclose(double, 2 * single, atol=1e-6)
