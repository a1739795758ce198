"""Tokens in the incremental engine: an embedding is propagated, all else is exact or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import choose, compare, kinds, substitutions, with_mutants
from token_models import CLS, IDS, N_TOKENS, SEP, LanguageModel, TokenCnn, built
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.tokens import TokenLayout
from kipoi_mcdropout.sequence.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("small_models_are_captured")

LENGTH = 40
TOKENS = Vocabulary.of(IDS).tokens
AROUND = [((), ()), ((CLS,), (SEP,)), ((CLS, CLS, CLS), ())]


def batch(
    references: int = 1, around: Any = AROUND[1], dtype: Any = np.int64, wide: bool = False
) -> MutantBatch:
    """All substitutions of random sequences; with `wide` mutants that change several places, too."""
    rng = np.random.default_rng(4)
    layout = TokenLayout(TOKENS, LENGTH, *around)
    codes = rng.integers(0, 4, (references, LENGTH)).astype(np.uint8)
    codes[:, 3] = 4  # an N
    mutants, owner = [], []
    for r in range(references):
        position, alt, _ = all_substitutions(codes[r], 4)
        some = substituted(codes[r], position, alt)
        if wide:
            for start, n in ((0, 3), (LENGTH - 5, 5), (10, 30)):
                several = codes[r].copy()
                several[start : start + n] = rng.integers(0, 4, n)
                some = np.concatenate([some, several[None]])
        mutants.append(some)
        owner += [r] * len(some)
    return with_mutants(layout, codes, np.concatenate(mutants), owner, dtype)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("references", [1, 3])
def test_an_embedding_is_propagated(around: Any, references: int) -> None:
    found = compare(built(TokenCnn), batch(references, around, wide=True))
    assert found.error < 1e-12
    assert {kinds(found.plan)[name] for name in ("embedding", "transpose", "conv1d")} == {"windows"}
    assert found.paths["slices"] > 0
    assert found.paths["reduce"] > 0


class Body(nn.Module):
    """What a model may do with its tokens before they are vectors."""

    def __init__(self, function: Callable[[Body, Tensor], Tensor], width: int = 6) -> None:
        super().__init__()
        self.function = function
        self.embed = nn.Embedding(40, width)
        self.register_buffer("table", torch.rand(40, width))
        self.register_buffer("other", torch.arange(40).flip(0))
        self.scale = nn.Embedding(40, 1)
        self.cnn = nn.Sequential(
            nn.Conv1d(width, 5, 3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.LazyLinear(2)
        )

    def forward(self, ids: Tensor) -> Tensor:
        return self.cnn(self.function(self, ids).transpose(1, 2))


WINDOWS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a table that is indexed": lambda net, ids: net.table[ids],
    "without the ends": lambda net, ids: net.embed(ids[:, 1:-1]),
    "backwards": lambda net, ids: net.embed(ids.flip(1)),
    "other tokens first": lambda net, ids: net.embed(net.other[ids]),
    "as they are": lambda net, ids: net.embed(ids.long().contiguous()),
    "padded": lambda net, ids: net.embed(F.pad(ids, (2, 3), value=4)),
    "scaled by one number each": lambda net, ids: net.embed(ids) * net.scale(ids),
    "one-hot vectors made of them": lambda _, ids: F.one_hot(ids, 40)[..., 4:10].double(),
    "one-hot vectors times a table": lambda net, ids: F.one_hot(ids, 40).double() @ net.table,
    "as numbers": lambda net, ids: net.embed(ids) + ids[..., None].double(),
    "position and token": lambda net, ids: net.embed(ids) + net.embed(torch.arange(ids.shape[1]) % 40),
}
DENSE: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "masked": lambda net, ids: net.embed(ids).masked_fill((ids == 11)[..., None], 0.0),
    "shifted": lambda net, ids: net.embed(ids + 1),
    "doubled": lambda net, ids: net.embed(ids * 2),
    "one-hot vectors of another type": lambda net, ids: (
        net.embed(ids) + F.one_hot(ids, 40).to(torch.int32).sum(-1, keepdim=True).double()
    ),
    "another type": lambda net, ids: net.embed(ids.int()),
    "mean": lambda net, ids: net.embed(ids) * ids.double().mean(1)[:, None, None],
    "weights that drop": lambda net, ids: F.embedding(ids, F.dropout(net.embed.weight, 0.3)),
}


def net_of(function: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = Body(function).double()
        net(torch.zeros(1, LENGTH + 2, dtype=torch.int64))
    return net.double().eval()


@pytest.mark.parametrize("name", WINDOWS)
def test_what_is_propagated(name: str) -> None:
    found = compare(net_of(WINDOWS[name]), batch(wide=True))
    assert found.error < 1e-12
    assert kinds(found.plan)["conv1d"] == "windows"
    assert kinds(found.plan)["transpose"] == "windows"


@pytest.mark.parametrize("name", DENSE)
def test_what_is_computed_as_a_whole(name: str) -> None:
    found = compare(net_of(DENSE[name]), batch(wide=True))
    assert found.error < 1e-12
    assert kinds(found.plan)["conv1d"] == "dense"


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_tokens_of_both_types(dtype: Any) -> None:
    class Either(TokenCnn):
        def forward(self, input_ids: Tensor) -> Tensor:
            return self.cnn(self.embed(input_ids).transpose(1, 2))

    assert compare(built(Either), batch(dtype=dtype)).error < 1e-12


def test_a_mean_over_positions_of_one_channel() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop = nn.Conv1d(4, 1, 5), nn.Dropout(0.4)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.drop(self.conv(x))).squeeze(1)
            return torch.stack([y.mean(1), y.amax(1), y.sum(1)], dim=1)

    for references in (1, 2):
        found = compare(built(Single), substitutions(LENGTH, references))
        assert found.error < 1e-12
        assert found.paths["reduce"] > 0


def test_a_strand_that_the_model_makes_is_kept_apart() -> None:
    class Strands(TokenCnn):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("complement", torch.tensor([0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11]))

        def forward(self, input_ids: Tensor) -> Tensor:
            both = torch.cat([input_ids, self.complement[input_ids].flip(1)])
            y = super().forward(both)
            return y[: len(input_ids)] + y[len(input_ids) :]

    found = compare(built(Strands), batch(2))
    assert found.error < 1e-12
    assert kinds(found.plan)["embedding"] == "windows"
    assert max(found.plan.lanes.values()) == 2


def test_a_transformer_is_the_same_by_either_engine() -> None:
    found = compare(built(LanguageModel), batch(2))
    assert found.error < 1e-12
    assert kinds(found.plan)["softmax"] == "dense"
    model = LockedModel(built(LanguageModel))
    assert choose(model, batch()).engine == "full"


class Large(nn.Module):
    """Enough work for the choice of the incremental engine."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(N_TOKENS, 32)
        self.body = nn.Sequential(
            nn.Conv1d(32, 128, 5), nn.ReLU(), nn.Dropout(0.2), nn.Conv1d(128, 64, 5), nn.ReLU(),
            nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, ids: Tensor) -> Tensor:
        return self.body(self.embed(ids).transpose(1, 2))


def test_auto_takes_the_incremental_engine_where_it_saves_work() -> None:
    layout = TokenLayout(TOKENS, 300, (CLS,), (SEP,))
    codes = np.random.default_rng(0).integers(0, 4, (1, 300)).astype(np.uint8)
    long = with_mutants(layout, codes, codes, [0], np.int64)
    assert choose(LockedModel(built(Large).float()), long).engine == "incremental"


class Looks(TokenCnn):
    """Looks at its tokens: which operations it runs depends on them."""

    def forward(self, input_ids: Tensor) -> Tensor:
        shift = 1.0 if bool((input_ids == 11).any()) else 0.0
        return super().forward(input_ids) + shift


def test_what_cannot_be_captured_is_refused_by_name() -> None:
    model = LockedModel(built(Looks))
    with pytest.raises(CaptureError, match=r"looks at its data by Tensor.__bool__"):
        compare(built(Looks), batch())
    choice = choose(model, batch())
    assert choice.engine == "full"
    assert "looks at its data" in choice.reason
