"""Locked masks on toy networks whose every mask can be enumerated, and the stream of the masks."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import RUN_SCOPE, keep_mask
from kipoi_mcdropout.dropout.sites import Site
from kipoi_mcdropout.effects.scores import SCORES
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, sequence_scope, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

UNITS = (3, 4)  # of the two dropout sites: 128 masks
N_OUTPUTS = 3
Array = NDArray[np.float64]


def toy(p: float, sigmoid: bool = True) -> nn.Sequential:
    """One-hot (4, 3) -> 3 units -> 4 units -> 3 outputs, with dropout after both hidden layers."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(12, UNITS[0]), nn.Tanh(), nn.Dropout(p),
            nn.Linear(UNITS[0], UNITS[1]), nn.Tanh(), nn.Dropout(p),
            nn.Linear(UNITS[1], N_OUTPUTS), nn.Sigmoid() if sigmoid else nn.Identity(),
        )  # fmt: skip
        for part in net.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, 0, 0.8)
    return net.double().eval()


def batch_of(codes: list[list[int]], scope: int = RUN_SCOPE) -> MutantBatch:
    """All substitutions of some sequences of three bases."""
    layout = OneHotLayout((4, 3), 0)
    references = np.array(codes, dtype=np.uint8)
    edits = [all_substitutions(row, 4) for row in references]
    mutants = [substituted(row, e.position, e.alt) for row, e in zip(references, edits, strict=True)]
    return MutantBatch(
        layout.encode(references, np.dtype(np.float64)), None, layout, references,
        np.repeat(np.arange(len(codes)), [len(m) for m in mutants]), np.concatenate(mutants), scope,
    )  # fmt: skip


class Enumeration(MaskBank):
    """In place of random masks: draw d has mask number d of all 2**7."""

    def __init__(self) -> None:
        super().__init__(0)

    def keep(self, site: Site, draw: int, scope: int, device: torch.device) -> Tensor:
        bits = [draw >> i & 1 for i in range(sum(UNITS))]
        mine = bits[: UNITS[0]] if site.index == 0 else bits[UNITS[0] :]
        return torch.tensor(mine, dtype=torch.bool).reshape(site.shape)


def summarize(
    net: nn.Module, batch: MutantBatch, masks: MaskBank, n_draws: int, score: str = "diff"
) -> EffectSummary:
    model = LockedModel(net)
    labels = tuple(map(str, range(N_OUTPUTS)))
    targets = Targets(labels, tuple(range(N_OUTPUTS)), N_OUTPUTS)
    options = EffectOptions((SCORES[score],), n_draws, keep_draws=True)
    with model.borrow():
        return summarize_effects(FullEngine(model, masks, 5), batch, targets, options)[0]


class Population(NamedTuple):
    """Outputs under every mask with its probability, by numpy alone."""

    weight: Array  # shape=(masks,)
    ref: Array  # shape=(masks, mutants, outputs), the mutant's own reference
    alt: Array

    def mean(self, values: Array) -> Array:
        return np.einsum("k,k...->...", self.weight, values)

    def central(self, values: Array, order: int) -> Array:
        return self.mean((values - self.mean(values)) ** order)

    def covariance(self) -> Array:
        return self.mean((self.ref - self.mean(self.ref)) * (self.alt - self.mean(self.alt)))


def enumerated(net: nn.Sequential, batch: MutantBatch, p: float, sigmoid: bool = True) -> Population:
    a, b, c = (
        (part.weight.detach().numpy(), part.bias.detach().numpy())
        for part in net
        if isinstance(part, nn.Linear)
    )

    def outputs(codes: NDArray[np.uint8], keep: Array) -> Array:
        x = np.stack([(codes == base).astype(float) for base in range(4)], axis=1)
        h = np.tanh(x.reshape(len(x), -1) @ a[0].T + a[1]) * keep[: UNITS[0]] / (1 - p)
        h = np.tanh(h @ b[0].T + b[1]) * keep[UNITS[0] :] / (1 - p)
        z = h @ c[0].T + c[1]
        return 1 / (1 + np.exp(-z)) if sigmoid else z

    masks = np.array(list(itertools.product((0.0, 1.0), repeat=sum(UNITS))))
    kept = masks.sum(axis=1)
    return Population(
        (1 - p) ** kept * p ** (sum(UNITS) - kept),
        np.stack([outputs(batch.reference_codes[batch.owner], keep) for keep in masks]),
        np.stack([outputs(batch.codes, keep) for keep in masks]),
    )


BATCH = batch_of([[0, 1, 2], [3, 3, 0]])


def test_all_masks_as_draws_give_the_population_exactly() -> None:
    net, n = toy(0.5), 2 ** sum(UNITS)
    summary = summarize(net, BATCH, Enumeration(), n)
    population = enumerated(net, BATCH, 0.5)
    effect = population.alt - population.ref
    sample = n / (n - 1)  # ddof=1, where the population has ddof=0
    expected = {
        "alt_mean": population.mean(population.alt),
        "alt_var": population.central(population.alt, 2) * sample,
        "ref_alt_cov": population.covariance() * sample,
        "effect_mean": population.mean(effect),
        "effect_sd": np.sqrt(population.central(effect, 2) * sample),
        "effect_mcse": np.sqrt(population.central(effect, 2) * sample / n),
        "prob_positive": population.mean((effect > 0) + 0.5 * (effect == 0)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(summary.mutant[name], value, rtol=1e-12, atol=1e-15, err_msg=name)
    first = [0, 9]  # a mutant of each reference
    ref_mean, ref_var = population.mean(population.ref), population.central(population.ref, 2)
    np.testing.assert_allclose(summary.reference["ref_mean"], ref_mean[first], rtol=1e-12)
    np.testing.assert_allclose(summary.reference["ref_var"], ref_var[first] * sample, rtol=1e-12)


def test_all_masks_as_draws_on_the_logit_scale() -> None:
    net, n = toy(0.5), 2 ** sum(UNITS)
    summary = summarize(net, BATCH, Enumeration(), n, "logit")
    population = enumerated(net, BATCH, 0.5, sigmoid=False)  # logits before the sigmoid
    effect = population.alt - population.ref
    sd = np.sqrt(population.central(effect, 2) * n / (n - 1))
    np.testing.assert_allclose(summary.mutant["effect_mean"], population.mean(effect), atol=1e-12)
    np.testing.assert_allclose(summary.mutant["effect_sd"], sd, rtol=1e-11)
    cov = population.covariance() * n / (n - 1)
    np.testing.assert_allclose(summary.mutant["ref_alt_cov"], cov, atol=1e-12)


def test_variance_identity_holds() -> None:
    summary = summarize(toy(0.3), BATCH, MaskBank(1), 20)
    m = summary.mutant
    ref_var = summary.reference["ref_var"][BATCH.owner]
    np.testing.assert_allclose(
        m["effect_sd"] ** 2, ref_var + m["alt_var"] - 2 * m["ref_alt_cov"], rtol=1e-9, atol=1e-16
    )


Z = 5.0  # standard errors; 27 mutant outputs x a few statistics stay within with p > 1 - 1e-4


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_random_draws_lie_within_their_sampling_error(seed: int) -> None:
    """Errors of the mean, the variance and the share of positive effects, from the population."""
    p, n = 0.3, 500
    net = toy(p)
    summary = summarize(net, BATCH, MaskBank(seed), n)
    population = enumerated(net, BATCH, p)
    effect = population.alt - population.ref
    mean, var = population.mean(effect), population.central(effect, 2)
    assert (np.abs(summary.mutant["effect_mean"] - mean) < Z * np.sqrt(var / n)).all()
    # Variance of a sample variance: (mu4 - var**2 (n - 3) / (n - 1)) / n, for any distribution.
    error = np.sqrt((population.central(effect, 4) - var**2 * (n - 3) / (n - 1)) / n)
    assert (np.abs(summary.mutant["effect_sd"] ** 2 - var) < Z * error).all()
    draws = summary.draws
    assert draws is not None
    for sign in (1, -1):  # with all first units dropped the effect is 0: neither
        share = population.mean((sign * effect > 1e-12).astype(float))
        low, high = stats.binom.interval(1 - 1e-6, n, share)
        count = (sign * draws > 1e-12).sum(axis=0)
        assert ((low <= count) & (count <= high)).all()
    ties = (np.abs(draws) <= 1e-12).sum(axis=0)
    low, high = stats.binom.interval(1 - 1e-6, n, p ** UNITS[0])
    assert ((low <= ties) & (ties <= high)).all()
    share = ((draws > 1e-12) + 0.5 * (np.abs(draws) <= 1e-12)).mean(axis=0)
    np.testing.assert_allclose(summary.mutant["prob_positive"], share, rtol=1e-12)


def test_closed_form_of_a_linear_readout() -> None:
    """Var(alt - ref) = p / (1 - p) sum w**2 (h_alt - h_ref)**2, and so for the covariance."""
    p, n, h = 0.5, 2 ** UNITS[1], UNITS[1]
    with torch.random.fork_rng():
        torch.manual_seed(8)
        first, last = nn.Linear(12, h).double(), nn.Linear(h, N_OUTPUTS).double()

    class LastOnly(Enumeration):
        def keep(self, site: Site, draw: int, scope: int, device: torch.device) -> Tensor:
            return torch.tensor([[draw >> i & 1 == 1 for i in range(h)]])

    net = nn.Sequential(nn.Flatten(), first, nn.Tanh(), nn.Dropout(p), last)
    summary = summarize(net, BATCH, LastOnly(), n)
    with torch.no_grad():
        alt = net[:3](torch.from_numpy(BATCH.inputs(slice(None)))).numpy()
        ref = net[:3](torch.from_numpy(BATCH.references)).numpy()[BATCH.owner]
    square = last.weight.detach().numpy() ** 2 * p / (1 - p) * n / (n - 1)
    np.testing.assert_allclose(summary.mutant["effect_sd"] ** 2, (alt - ref) ** 2 @ square.T, rtol=1e-12)
    np.testing.assert_allclose(summary.mutant["ref_alt_cov"], (alt * ref) @ square.T, rtol=1e-12)
    np.testing.assert_allclose(summary.mutant["effect_mean"], summary.mutant["effect_point"])


def test_shared_masks_against_independent_ones() -> None:
    """The covariance is what locking is for: with masks of their own the spread is many times larger."""
    wide, p, n = 200, 0.5, 300
    with torch.random.fork_rng():
        torch.manual_seed(9)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(12, wide), nn.ReLU(), nn.Dropout(p), nn.Linear(wide, N_OUTPUTS)
        ).double()
        nn.init.uniform_(net[1].bias, 2, 3)  # a large signal that most substitutions change little
    locked = summarize(net, BATCH, MaskBank(3), n).mutant
    model, bank = LockedModel(net), MaskBank(3)
    references = torch.from_numpy(BATCH.references)
    mutants = torch.from_numpy(BATCH.inputs(slice(None)))
    with model.borrow():
        ref = torch.stack([model.outputs(references, d, bank) for d in range(n)])[:, BATCH.owner]
        alt = torch.stack([model.outputs(mutants, n + d, bank) for d in range(n)])
    independent = (alt - ref).var(dim=0).numpy()
    assert (independent > 20 * locked["effect_sd"] ** 2).all()
    assert (2 * locked["ref_alt_cov"] > 0.9 * independent).all()
    # and without its covariance term the locked estimate would be that of independent masks
    without = locked["effect_sd"] ** 2 + 2 * locked["ref_alt_cov"]
    error = math.sqrt(2 / (n - 1)) * math.sqrt(2)  # two variances of nearly normal sums, n draws each
    np.testing.assert_allclose(without / independent, 1, atol=Z * error)


def outputs_under(scope: int, rows: list[list[int]], draw: int = 0) -> Tensor:
    model, batch = LockedModel(toy(0.5)), batch_of(rows)
    with model.borrow():
        return model.outputs(torch.from_numpy(batch.references), draw, MaskBank(4), scope)


def test_masks_of_a_sequence_of_its_own() -> None:
    a, b = ([[0, 1, 2]], [[3, 3, 0]])
    scope_a, scope_b = (sequence_scope([batch_of(rows).references]) for rows in (a, b))
    assert scope_a != scope_b
    assert RUN_SCOPE not in (scope_a, scope_b)
    assert scope_a == sequence_scope([batch_of(a).references.copy()])
    big = (1000,)
    masks = [keep_mask(4, 0, 0, big, 0.5, scope) for scope in (scope_a, scope_b, RUN_SCOPE)]
    for x, y in itertools.combinations(masks, 2):  # agree as often as unrelated coins
        low, high = stats.binom.interval(1 - 1e-9, big[0], 0.5)
        assert low <= (x == y).sum() <= high
    draws = range(8)
    own = torch.stack([outputs_under(scope_a, a, d) for d in draws])
    other = torch.stack([outputs_under(scope_b, a, d) for d in draws])
    shared = torch.stack([outputs_under(RUN_SCOPE, a, d) for d in draws])
    again = torch.stack([outputs_under(scope_a, a + b, d)[:1] for d in draws])
    torch.testing.assert_close(own, again, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(own, other)
    assert not torch.allclose(own, shared)


def test_scope_of_a_batch_reaches_reference_and_mutants() -> None:
    scope = sequence_scope([BATCH.references])
    net, scoped = toy(0.5), batch_of([[0, 1, 2], [3, 3, 0]], scope)
    model, bank = LockedModel(net), MaskBank(4)
    with model.borrow():
        blocks = list(FullEngine(model, bank, 100).run(scoped, [2]))
        alt = model.outputs(torch.from_numpy(BATCH.inputs(slice(None))), 2, bank, scope)
        ref = model.outputs(torch.from_numpy(BATCH.references), 2, bank, scope)
    torch.testing.assert_close(blocks[0].alt[0], alt)
    torch.testing.assert_close(blocks[0].ref[0], ref)


# --- the stream of the masks ----------------------------------------------------------------------


def philox(counter: list[int], key: list[int]) -> list[int]:
    """One block of Philox4x64-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"."""
    low64 = 2**64 - 1
    for i in range(10):
        if i > 0:
            key = [(k + w) & low64 for k, w in zip(key, WEYL, strict=True)]
        left, right = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            (right >> 64) ^ counter[1] ^ key[0], right & low64,
            (left >> 64) ^ counter[3] ^ key[1], left & low64,
        ]  # fmt: skip
    return counter


WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def masks_by_hand(seed: int, draw: int, site: int, size: int, p: float, scope: int) -> list[bool]:
    """A 32-bit half of a word per element, low half first; the counter starts from 1."""
    halves: list[int] = []
    block = 0
    while len(halves) < size:
        block += 1
        for word in philox([block, site, draw, scope], [seed, 0x6B69706F696D6364]):
            halves += [word & 0xFFFFFFFF, word >> 32]
    return [half >= round(p * 2**32) for half in halves[:size]]


KEYS = [
    (0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (2**64 - 1, 29, 7, 99),
    (0, 0, 0, 2**63 + 1),
]  # fmt: skip


@pytest.mark.parametrize("p", [0.5, 0.2, 0.05])
@pytest.mark.parametrize("key", KEYS)
def test_masks_are_the_philox_stream(key: tuple[int, int, int, int], p: float) -> None:
    seed, draw, site, scope = key
    got = keep_mask(seed, draw, site, (3, 7), p, scope)
    assert got.shape == (3, 7)
    assert got.dtype == np.bool_
    assert got.reshape(-1).tolist() == masks_by_hand(seed, draw, site, 21, p, scope)


GOLDEN = {  # (seed, draw, site)
    (0, 0, 0): "1001111001101110100000111001101100111000",
    (0, 1, 0): "0101000100010001101011001110111011011010",
    (0, 0, 1): "0001001111010100011111110111111100100001",
    (1, 0, 0): "1010110011111101100011100010110101001111",
    (123456789, 29, 2): "1111011001011110111101001110101101011000",
}


@pytest.mark.parametrize(("key", "bits"), GOLDEN.items())
def test_golden_masks(key: tuple[int, int, int], bits: str) -> None:
    """If these change, results of earlier versions can no longer be reproduced."""
    keep = keep_mask(*key, (40,), 0.5)
    assert "".join("01"[int(bit)] for bit in keep) == bits


def test_keep_rate_is_binomial() -> None:
    n = 200_000
    for site, p in enumerate((0.05, 0.2, 0.5, 0.9)):
        low, high = stats.binom.interval(1 - 1e-9, n, 1 - p)
        assert low <= keep_mask(6, 0, site, (n,), p).sum() <= high


def test_a_longer_mask_begins_with_the_shorter() -> None:
    """Masks of one site are the stream in C order: the shape alone does not change a bit."""
    assert (keep_mask(6, 3, 1, (4, 5), 0.5).reshape(-1) == keep_mask(6, 3, 1, (33,), 0.5)[:20]).all()
