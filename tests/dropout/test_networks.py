"""Whole networks of each family under locked masks: pure, borrowed, and null where nothing changes."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import networks
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import map_nested
from kipoi_mcdropout.dropout.locked_model import LockedModel, locked_forward
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.sites import Site
from kipoi_mcdropout.effects.scores import SCORES
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.errors import ModelForwardError
from kipoi_mcdropout.model.output_names import label_outputs
from kipoi_mcdropout.outputs.targets import select_targets
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

# Name: sizes, kinds of the sites.
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "deepsea": ({"length": 180, "n_outputs": 5, "width": 0.02}, {"dropout": 3}),
    "deepsea_both_strands": ({"length": 180, "n_outputs": 5, "width": 0.02}, {"dropout": 3}),
    "beluga": ({"length": 330, "n_outputs": 5, "width": 0.02}, {"dropout": 3}),
    "basset": ({"length": 200, "n_outputs": 5, "width": 0.03}, {"dropout": 2}),
    "bpnet": ({"length": 60, "width": 0.1}, {"dropout": 9}),
    "danq": ({"length": 110, "n_outputs": 5, "width": 0.02}, {"dropout": 2, "lstm": 1}),
    "transformer": (
        {"length": 80, "n_outputs": 5, "width": 0.1}, {"dropout": 6, "attention": 2},
    ),
}  # fmt: skip
N_MUTANTS = 310  # more than 301
SEED = 17


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def built(family: str) -> networks.SequenceNetwork:
    return networks.build(family, seed=1, **FAMILIES[family][0])


def mutant_batch(model: networks.SequenceNetwork, n: int = N_MUTANTS) -> MutantBatch:
    """Mutants of two references, taking turns; the last of each reference changes nothing."""
    x = networks.random_sequences(model, 2, seed=2)
    layout = OneHotLayout.of(x, model.category_axis)
    references = layout.codes(x)
    owner = np.arange(n) % 2
    codes = references[owner]
    for row in range(2):
        mine = np.flatnonzero(owner == row)[:-1]
        edits = all_substitutions(references[row], 4)
        chosen = np.linspace(0, len(edits.position) - 1, len(mine)).astype(int)
        codes[mine] = substituted(references[row], edits.position[chosen], edits.alt[chosen])
    return MutantBatch(x, None, layout, references, owner, codes)


def subset(batch: MutantBatch, rows: Any) -> MutantBatch:
    return MutantBatch(
        batch.references, None, batch.layout, batch.reference_codes, batch.owner[rows],
        batch.codes[rows], batch.scope,
    )  # fmt: skip


class Recorded(MaskBank):
    """Notes every mask that is handed out; none may ever change."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, budget_bytes=1)  # made anew nearly each time
        self.seen: dict[tuple[int, int], Tensor] = {}

    def keep(self, site: Site, draw: int, scope: int, device: torch.device) -> Tensor:
        mask = super().keep(site, draw, scope, device)
        known = self.seen.setdefault((site.index, draw), mask.clone())
        assert torch.equal(known, mask)
        return mask


def run(
    model: nn.Module, batch: MutantBatch, batch_size: int, draws: tuple[int, ...] = (0, 1)
) -> tuple[Tensor, Tensor, dict[tuple[int, int], Tensor]]:
    """Outputs of references and mutants, shape=(draws, rows, outputs), and the masks."""
    locked, bank = LockedModel(model), Recorded(SEED)
    alt: dict[int, list[Tensor]] = {draw: [] for draw in draws}
    with locked.borrow():
        for i, block in enumerate(FullEngine(locked, bank, batch_size).run(batch, draws)):
            draw = draws[i % len(draws)]
            alt[draw] += block.alt.unbind(0)
            if i < len(draws):
                alt.setdefault(-2 - draw, []).append(block.ref[0])
    ref = torch.stack([alt[-2 - draw][0] for draw in draws])
    return ref, torch.stack([torch.cat(alt[draw]) for draw in draws]), bank.seen


def assert_same(got: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    """Outputs within 1e-6 of their scale, masks bitwise."""
    for a, b in zip(got[:2], expected[:2], strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()
    assert got[2].keys() == expected[2].keys()
    assert all(torch.equal(mask, expected[2][key]) for key, mask in got[2].items())


def summaries(
    model: nn.Module,
    batch: MutantBatch,
    scores: tuple[str, ...],
    n_draws: int = 5,
    ignore: tuple[str, ...] = (),
) -> list[EffectSummary]:
    locked = LockedModel(model, ignore=ignore)
    with locked.borrow():
        pair = torch.from_numpy(batch.references)
        labels = label_outputs(locked.raw_outputs(pair, -1, MaskBank(SEED)))
        options = EffectOptions(tuple(SCORES[name] for name in scores), n_draws)
        engine = FullEngine(locked, MaskBank(SEED), 64)
        return summarize_effects(engine, batch, select_targets(labels, None), options)


def test_sites(family: str) -> None:
    model = built(family)
    locked = LockedModel(model)
    with locked.borrow():
        plan = locked.plan(torch.from_numpy(networks.random_sequences(model, 2, seed=2)))
    assert Counter(site.kind for site in plan.sites) == FAMILIES[family][1]
    assert all(site.batch_axis == 0 and site.shape[0] == 1 for site in plan.sites)
    copies = 2 if family == "deepsea_both_strands" else 1
    assert {site.copies for site in plan.sites} == {copies}
    assert plan.before_first_site
    assert not plan.lifted
    assert not plan.notes


def test_batch_size_changes_neither_masks_nor_results(family: str) -> None:
    model = built(family)
    batch = mutant_batch(model)
    expected = run(model, batch, N_MUTANTS)
    assert len(expected[2]) == 2 * sum(FAMILIES[family][1].values())
    for batch_size in (7, 300, 301, 3000):
        assert_same(run(model, batch, batch_size), expected)
    few = slice(0, N_MUTANTS, 10)  # one by one is slow
    ref, alt, masks = expected
    assert_same(run(model, subset(batch, few), 1), (ref, alt[:, few], masks))


def test_order_and_split_change_neither_masks_nor_results(family: str) -> None:
    model = built(family)
    batch = mutant_batch(model)
    ref, alt, masks = run(model, batch, 32)
    order = np.random.default_rng(3).permutation(N_MUTANTS)
    assert_same(run(model, subset(batch, order), 32), (ref, alt[:, order], masks))
    for rows in (slice(0, 11), slice(11, 200), slice(200, None)):
        assert_same(run(model, subset(batch, rows), 32), (ref, alt[:, rows], masks))
    swapped = MutantBatch(
        batch.references[::-1], None, batch.layout, batch.reference_codes[::-1], 1 - batch.owner,
        batch.codes,
    )  # fmt: skip
    assert_same(run(model, swapped, 32), (ref.flip(1), alt, masks))


def test_draws_do_not_depend_on_those_before(family: str) -> None:
    model = built(family)
    batch = subset(mutant_batch(model), slice(0, 20))
    ref, alt, _ = run(model, batch, 32, (0, 1, 2))
    late_ref, late_alt, _ = run(model, batch, 32, (2,))
    assert torch.equal(late_ref[0], ref[2])
    assert torch.equal(late_alt[0], alt[2])
    assert not torch.allclose(alt[0], alt[1])


def test_mutant_equal_to_its_reference_has_no_effect(family: str) -> None:
    model = built(family)
    batch = mutant_batch(model, 40)
    scores = ("diff",) if family == "bpnet" else ("diff", "logit")
    for summary in summaries(model, batch, scores):
        for name in ("effect_mean", "effect_sd", "effect_mcse", "effect_point"):
            assert (summary.mutant[name][-2:] == 0).all(), name
        assert (summary.mutant["prob_positive"][-2:] == 0.5).all()
        assert (summary.mutant["effect_sd"][:-2] > 0).any(axis=1).mean() > 0.5
        reference = summary.reference["ref_var"]
        np.testing.assert_array_equal(summary.mutant["alt_var"][-2:], reference)
        assert (reference > 0).any()


def state(model: nn.Module) -> dict[str, Any]:
    """All that a caller could see changed."""
    return {
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "identity": [id(x) for x in (*model.parameters(), *model.buffers())],
        "flags": [part.training for part in model.modules()],
        "gradients": [(p.requires_grad, p.grad is None) for p in model.parameters()],
        "hooks": [
            (list(p._forward_hooks.items()), list(p._forward_pre_hooks.items())) for p in model.modules()
        ],
        "names": [sorted(vars(part)) for part in model.modules()],
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1:],
        "python": random.getstate(),
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    after = state(model)
    for part in ("identity", "flags", "gradients", "hooks", "names", "grad mode", "python"):
        assert after[part] == before[part], part
    assert all(torch.equal(value, before["weights"][k]) for k, value in after["weights"].items())
    assert torch.equal(after["torch"], before["torch"])
    assert np.array_equal(after["numpy"][0], before["numpy"][0])
    assert after["numpy"][1:] == before["numpy"][1:]


class BrokenError(Exception):
    """Raised inside the user's forward pass."""


@pytest.mark.parametrize("fails_at", [None, 3, 20], ids=["success", "probing", "running"])
def test_model_and_random_states_are_untouched(family: str, fails_at: int | None) -> None:
    model = built(family)
    for i, part in enumerate(model.modules()):
        part.training = i % 3 != 0  # of batch norms too, whose statistics must not move
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:  # the user's own, to be kept
        nonlocal calls
        calls += 1
        random.random()  # moves the random states, as user code may
        np.random.random()
        torch.manual_seed(calls)
        if calls == fails_at:
            raise BrokenError

    name, first = next(
        named for named in model.named_modules() if isinstance(named[1], (nn.Conv1d, nn.Conv2d))
    )
    first.register_forward_hook(hook)
    harmless = (name,)  # random numbers on which no output depends
    batch = mutant_batch(model, 70)
    own = map_nested(np.copy, batch.references)
    before = state(model)
    if fails_at is None:
        summaries(model, batch, ("diff",), ignore=harmless)
        assert calls > 20
    else:
        with pytest.raises(ModelForwardError, match=f"BrokenError.*module '{name}'.*_networks.py line"):
            summaries(model, batch, ("diff",), ignore=harmless)
        assert calls >= fails_at
    assert_untouched(model, before)
    np.testing.assert_array_equal(batch.references, own)


def test_both_strands_see_the_same_masks() -> None:
    """The model that doubles its batch is the mean of the single one over the strands."""
    both, single = built("deepsea_both_strands"), built("deepsea")
    x = torch.from_numpy(networks.random_sequences(both, 4, seed=5))
    for draw in (-1, 0, 1):
        forward = locked_forward(single, x, draw, SEED)
        backward = locked_forward(single, x.flip(dims=(1, 3)), draw, SEED)
        got = locked_forward(both, x, draw, SEED)
        torch.testing.assert_close(got, (forward + backward) / 2, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_a_function_of_the_seed_and_give_outputs_of_use(name: str) -> None:
    before = torch.get_rng_state()
    model, again = built(name), built(name)
    other = networks.build(name, seed=2, **FAMILIES[name][0])
    assert torch.equal(torch.get_rng_state(), before)
    weights = [m.state_dict() for m in (model, again, other)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert not any(
        torch.equal(value, weights[2][key])
        for key, value in weights[0].items() if "num_batches" not in key
    )  # fmt: skip
    x = torch.from_numpy(networks.random_sequences(model, 20, seed=6))
    assert x.shape[1:] == model.input_shape
    assert (x.sum(dim=model.category_axis + 1) == 1).all()
    with torch.no_grad():
        outputs = model(x)
    if name == "bpnet":
        assert {k: v.shape[1:] for k, v in outputs.items()} == {"profile": (2, 60), "counts": (2,)}
        assert all(v.abs().max() < 30 for v in outputs.values())
    else:
        assert outputs.shape == (20, 5)
        assert outputs.min() > 0.001
        assert outputs.max() < 0.999
        assert (outputs.std(dim=0) > 1e-4).any()  # and not constant


@pytest.mark.parametrize(
    ("name", "shape", "n_outputs", "flattened"),
    [
        ("deepsea", (4, 1, 1000), 919, 960 * 53),
        ("deepsea_both_strands", (4, 1, 1000), 919, 960 * 53),
        ("beluga", (4, 1, 2000), 2002, 67_840),
        ("basset", (4, 600, 1), 164, 2000),
    ],
)
def test_published_sizes(name: str, shape: tuple[int, ...], n_outputs: int, flattened: int) -> None:
    with torch.device("meta"):  # no memory, no time
        model = networks.NETWORKS[name]().eval()
        outputs = model(torch.empty(2, *shape))
    assert model.input_shape == shape
    assert outputs.shape == (2, n_outputs)
    dense = next(part for part in model.modules() if isinstance(part, nn.Linear))
    assert dense.in_features == flattened
