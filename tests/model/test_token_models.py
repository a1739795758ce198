"""Models of tokens from arrays: each effect is that of the plain forward pass on tokens made by hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from token_models import (
    CLS,
    IDS,
    N_TOKENS,
    PAD,
    SEP,
    LanguageModel,
    TableCnn,
    TokenCnn,
    built,
    random_text,
    tokens,
)
from torch import Tensor, nn

from kipoi_mcdropout import MCDropoutISM, Model, RunOptions, audit, ism, locked_forward, mc_predict, read
from kipoi_mcdropout.errors import InputError, ModelError
from kipoi_mcdropout.model.settings import ModelSettings, settings_as_dict
from kipoi_mcdropout.runs.options import RunOptions as Running

ENGINES = ["full", "incremental", "auto"]
DRAWS, SEED = 4, 3
TEXT = random_text(12, 1)[:5] + "N" + random_text(12, 1)[6:]


def mutants(text: str) -> list[tuple[int, int]]:
    """Position and number of the base put in, of all substitutions."""
    return [
        (i, j) for i, base in enumerate(text) for j, alt in enumerate("ACGT") if base not in ("N", alt)
    ]


def by_hand(net: nn.Module, rows: Any, text: str) -> np.ndarray:
    """Mean effects, shape=(positions, 4, outputs), NaN where nothing is mutated.

    `rows` are all inputs for the reference, then for each of `mutants(text)`.
    """
    draws = [locked_forward(net, rows, draw, SEED).numpy() for draw in range(DRAWS)]
    means = np.mean([draw - draw[:1] for draw in draws], axis=0)
    found = np.full((len(text), 4, means.shape[1]), np.nan)
    for mean, (i, j) in zip(means[1:], mutants(text), strict=True):
        found[i, j] = mean
    return found


def changed(x: np.ndarray, first: int, text: str) -> np.ndarray:
    """Tokens of the reference, then of each mutant; `x` has shape=(1, tokens)."""
    rows = np.repeat(x, 1 + len(mutants(text)), axis=0)
    for row, (i, j) in zip(rows[1:], mutants(text), strict=True):
        row[first + i] = IDS["ACGT"[j]]
    return rows


def effects(net: Any, x: Any, key: Any = None, **options: Any) -> dict[str, np.ndarray]:
    options = {"n_draws": DRAWS, "seed": SEED, "vocabulary": IDS, **options}
    return MCDropoutISM(net, key, **options).score(x)["diff"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("before", "after"), [((), ()), ((CLS,), (SEP,)), ((PAD, PAD, CLS), (SEP, PAD)), ((), (-1, -1))]
)
def test_effects_are_those_of_tokens_changed_by_hand(before: Any, after: Any, engine: str) -> None:
    if -1 in after:  # as Enformer pads: a row of the table that is counted from its end
        net: nn.Module = built(TableRow)
    else:
        net = built(TokenCnn)
    x = tokens(TEXT, before, after)[None]
    found = effects(net, x, engine=engine)["effect_mean"]
    assert found.shape == (1, 12, 4, 2)
    hand = by_hand(net, changed(x, len(before), TEXT), TEXT)
    np.testing.assert_allclose(found[0], hand, atol=1e-12)


class TableRow(TokenCnn):
    def forward(self, input_ids: Tensor) -> Tensor:
        return self.cnn(self.embed.weight[input_ids].transpose(1, 2))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_embedding_is_a_table_times_one_hot(engine: str) -> None:
    net = built(TokenCnn)
    x = tokens(TEXT)[None]
    found = effects(net, x, engine=engine)["effect_mean"][0]
    hand = by_hand(TableCnn(net), np.eye(N_TOKENS)[changed(x, 1, TEXT)], TEXT)
    np.testing.assert_allclose(found, hand, atol=1e-12)


PADDED = {
    "input_ids": tokens(TEXT, after=(SEP, PAD, PAD))[None],
    "attention_mask": np.array([[1] * 14 + [0, 0]]),
    "token_type_ids": np.array([[0] * 8 + [1] * 8]),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_other_inputs_stay_as_they_are(engine: str) -> None:
    net = built(LanguageModel)
    found = effects(net, PADDED, "input_ids", engine=engine)["effect_mean"]
    rows = {key: np.repeat(values, 1 + len(mutants(TEXT)), axis=0) for key, values in PADDED.items()}
    hand = by_hand(net, {**rows, "input_ids": changed(PADDED["input_ids"], 1, TEXT)}, TEXT)
    np.testing.assert_allclose(found[0], hand, atol=1e-12)
    other = {**PADDED, "attention_mask": np.ones((1, 16), np.int64)}
    assert np.nanmax(np.abs(hand - effects(net, other, "input_ids")["effect_mean"][0])) > 1e-4


def test_auto_is_full() -> None:
    for net, x, key in (
        (built(TokenCnn), tokens(TEXT)[None], None),
        (built(LanguageModel), PADDED, "input_ids"),
    ):
        full, auto = (effects(net, x, key, engine=engine) for engine in ("full", "auto"))
        for name, values in full.items():
            np.testing.assert_allclose(auto[name], values, atol=1e-6 * np.nanmax(np.abs(values)))


@pytest.mark.filterwarnings("ignore:sequence 0. 1 positions are N")
def test_a_padded_sequence_beside_a_longer_one(tmp_path: Path) -> None:
    """Each sequence has positions of its own, and is as it is alone."""
    net, longer = built(LanguageModel), random_text(14, 7)
    batch = {
        "input_ids": np.stack([PADDED["input_ids"][0], tokens(longer)]),
        "attention_mask": np.stack([PADDED["attention_mask"][0], np.ones(16, np.int64)]),
    }
    model = Model(net, ["a", "b", "c"], vocabulary=IDS, model_input="input_ids")
    path = tmp_path / "out.parquet"
    ism(model, batch, n_draws=DRAWS, output=path, running=RunOptions(batch_size=5))
    table = pd.read_parquet(path)
    for i, text in enumerate((TEXT, longer)):
        rows = table[(table["sequence"] == i) & (table["output"] == "b")]
        alone = ism(model, {key: x[i : i + 1] for key, x in batch.items()}, n_draws=DRAWS).table()
        alone = alone[alone["output"] == "b"]
        np.testing.assert_allclose(rows["effect_mean"], alone["effect_mean"], atol=1e-6)
        known = [position for position, base in enumerate(text) if base != "N"]
        assert rows["position"].tolist() == np.repeat(known, 3).tolist()
        assert rows["ref"].tolist() == np.repeat([text[p] for p in known], 3).tolist()
    assert read(path).provenance["options"]["vocabulary"] == "A=7,C=8,G=9,T=10,N=11"
    with pytest.raises(InputError, match="same number of bases; sequence 1 has 14, the first 12"):
        effects(net, batch, "input_ids", n_draws=2)
    with pytest.raises(InputError, match="HDF5 needs sequences of one length"):
        ism(model, batch, n_draws=2, output=tmp_path / "out.h5")


@pytest.mark.filterwarnings("ignore:sequence 0. 1 positions are N")
def test_rna_has_u_in_its_results() -> None:
    net = built(TokenCnn)
    vocabulary = {("U" if base == "T" else base): token for base, token in IDS.items()}
    x = tokens(TEXT)[None]
    rna = ism(Model(net, vocabulary=vocabulary), x, n_draws=DRAWS).table()
    dna = ism(Model(net, vocabulary=IDS), x, n_draws=DRAWS).table()
    assert set(rna["alt"]) == set("ACGU")
    assert set(rna["ref"]) == set("ACGU")
    np.testing.assert_array_equal(rna["effect_mean"], dna["effect_mean"])
    assert rna["alt"].str.replace("U", "T").tolist() == dna["alt"].tolist()


def test_predictions_take_tokens_of_their_own_type() -> None:
    class Narrow(TokenCnn):
        def forward(self, input_ids: Tensor) -> Tensor:
            assert input_ids.dtype == torch.int32
            return self.cnn(self.embed(input_ids).transpose(1, 2))

    x = tokens(TEXT)[None].astype(np.int32)
    np.testing.assert_allclose(
        mc_predict(built(Narrow), x, n_draws=DRAWS).mean,
        mc_predict(built(TokenCnn), x.astype(np.int64), n_draws=DRAWS).mean,
    )
    for engine in ENGINES:
        found = effects(built(Narrow), x, engine=engine)["effect_mean"]
        np.testing.assert_allclose(found, effects(built(TokenCnn), x.astype(np.int64))["effect_mean"])


@pytest.mark.parametrize("how", [{"length": 30}, {"input_shape": (32,)}])
def test_example_and_audit(how: dict[str, Any]) -> None:
    text = "A=7,C=8,G=9,T=10,N=11,prefix=0,suffix=1"
    model = Model(built(LanguageModel), vocabulary=text, **how)
    x = model.example()
    assert x.shape == (1, 32)
    assert x.dtype == np.int64
    assert (x[0, 0], x[0, -1]) == (CLS, SEP)
    assert set(x[0, 1:-1]) == {7, 8, 9, 10}
    assert [row.mask_shape for row in audit(model).rows] == ["1 x 32 x 8", "1 x 2 x 32 x 32"]
    named = Model(built(LanguageModel), vocabulary=text, model_input="input_ids", **how)
    np.testing.assert_array_equal(named.example()["input_ids"], x)


def test_a_mask_that_is_the_same_for_all_windows() -> None:
    text = "A=7,C=8,G=9,T=10,N=11,prefix=0,suffix=1"
    model = Model(built(LanguageModel), vocabulary=text, length=30, model_input="input_ids")
    masked = model.with_extra_inputs(attention_mask=[1] * 20 + [0] * 12)
    x = masked.example()
    assert x["input_ids"].shape == (1, 32)
    np.testing.assert_array_equal(x["attention_mask"], [[1] * 20 + [0] * 12])
    found, plain = (ism(m, m.example(), n_draws=2).table() for m in (masked, model))
    assert found["effect_mean"][found["position"] >= 19].abs().max() < 1e-12
    assert plain["effect_mean"][plain["position"] >= 19].abs().min() > 1e-6


def test_settings_go_to_other_processes_and_into_the_record() -> None:
    settings = Model(built(TokenCnn), vocabulary=IDS, length=30).settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings_as_dict(settings) == {"length": 30, "vocabulary": "A=7,C=8,G=9,T=10,N=11"}
    assert ModelSettings(input_shape=(9,), vocabulary=settings.vocabulary).input_shape == (9,)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"vocabulary": IDS, "alphabet": "ACGT"},
            "alphabet is for one-hot inputs, and vocabulary for tokens",
        ),
        ({"vocabulary": IDS, "category_axis": 1}, "category_axis is for one-hot inputs"),
        ({"vocabulary": IDS, "unknown": "zero"}, "unknown is for one-hot inputs"),
        ({"input_shape": (32,)}, r"such as \(4, 500\), or \(502,\) for tokens with a vocabulary"),
        ({"vocabulary": "6mers"}, "6mers is not there"),
    ],
)
def test_what_contradicts_a_vocabulary_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Model(built(TokenCnn), **options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "cannot be found out.*has an embedding: if it takes tokens, one a base, give vocabulary"),
        ({"vocabulary": IDS, "input_shape": (4, 30)}, r"must be tokens, of shape \(tokens,\)"),
        ({"vocabulary": IDS, "input_shape": (None,)}, "sequences of any number of tokens; give length"),
        ({"vocabulary": IDS, "input_shape": (32,), "length": 32, }, None),
        ({"vocabulary": f"{'A=7,C=8,G=9,T=10'},prefix=0", "input_shape": (32,), "length": 32},
         "31 bp of 32 tokens, or be left out; got 32"),
        ({"vocabulary": f"{'A=7,C=8,G=9,T=10'},prefix=0", "input_shape": (1,)}, "give length"),
        ({"vocabulary": f"{'A=7,C=8,G=9,T=10'},prefix=0,suffix=1", "length": 0}, "at least 1 bp"),
    ],
)  # fmt: skip
def test_the_window_must_be_known(options: dict[str, Any], complaint: str | None) -> None:
    model = Model(built(TokenCnn), **options)
    if complaint is None:
        assert model.example().shape == (1, 32)
        return
    with pytest.raises(InputError, match=complaint):
        model.example()


def test_tokens_without_a_vocabulary_are_asked_for_it() -> None:
    with pytest.raises(InputError, match="If these are tokens, one a base, give vocabulary"):
        ism(built(TokenCnn), tokens(TEXT)[None], n_draws=2)
    with pytest.raises(InputError, match="model_input must name one of the model's inputs: input_ids"):
        ism(Model(built(LanguageModel), vocabulary=IDS), PADDED, n_draws=2)
    with pytest.raises(InputError, match=r"must be tokens: whole numbers.*float64"):
        ism(Model(built(TokenCnn), vocabulary=IDS), tokens(TEXT)[None].astype(float), n_draws=2)


class Looks(TokenCnn):
    """Looks at its tokens: which operations it runs depends on them."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids) + (1.0 if bool((input_ids == 11).any()) else 0.0)


def test_an_engine_that_cannot_run_is_refused_by_name() -> None:
    model = Model(built(Looks), vocabulary=IDS)
    x = tokens(random_text(12))[None]
    with pytest.raises(
        ModelError, match=r"'incremental' cannot run this model: .*__bool__.*'full' or 'auto'"
    ):
        ism(model, x, n_draws=2, running=Running(engine="incremental"))
    auto = ism(model, x, n_draws=2)
    full = ism(model, x, n_draws=2, running=Running(engine="full"))
    np.testing.assert_array_equal(auto.table()["effect_mean"], full.table()["effect_mean"])
