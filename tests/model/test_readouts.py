"""A model with a readout: which output is read, and how its numbers are called."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from profile_world import TRACKS, OneHead, profile_net, sequences
from small_models import array, fixed, with_schema
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.dropout.locked_model import locked_forward
from kipoi_mcdropout.errors import InputError, ModelError, TargetError

WORDS = {"head": "profile", "reduce": ["sum@16", "max"], "tracks": ["plus", "total"]}


def model(**words: Any) -> mcd.Model:
    return mcd.Model(profile_net(), outputs=TRACKS).with_readout(**{**WORDS, **words})


def test_predictions_are_the_reduced_outputs_of_each_draw() -> None:
    x = sequences(3)
    found = mcd.mc_predict(model(), x, n_draws=4, seed=5, keep_draws=True)
    assert found.labels == ("plus|sum@16", "plus|max", "total|sum@16", "total|max")
    net = OneHead(profile_net())
    for draw in range(4):
        profile = locked_forward(net, torch.from_numpy(x), draw, seed=5).reshape(3, 3, 64)[:, [0, 2]]
        expected = torch.stack([profile[:, :, 24:40].sum(2), profile.amax(2)], dim=2).flatten(1)
        np.testing.assert_allclose(found.draws[draw], expected, rtol=1e-6)
    assert found.provenance["options"]["readout"]["reduce"] == ["sum@16", "max"]


def test_the_call_takes_the_same_words() -> None:
    x = sequences(2)
    of_call = mcd.mc_predict(mcd.Model(profile_net(), outputs=TRACKS), x, 3, **WORDS)
    np.testing.assert_array_equal(of_call.mean, mcd.mc_predict(model(), x, 3).mean)
    with pytest.raises(InputError, match="has a readout already"):
        mcd.mc_predict(model(), x, 3, tracks=0)
    with pytest.raises(
        InputError, match="mc_predict does not know the argument 'redcue'; is it 'reduce'"
    ):
        mcd.mc_predict(profile_net(), x, 3, redcue="sum")


def test_targets_choose_among_the_numbers_that_were_read() -> None:
    found = mcd.mc_predict(model(), sequences(1), 2, targets=["*|max"])
    assert found.labels == ("plus|max", "total|max")
    with pytest.raises(TargetError, match="names none of the model's 4 outputs"):
        mcd.mc_predict(model(), sequences(1), 2, targets="plus")


class Nested(nn.Module):
    """Outputs in the structure that a test asks for."""

    def __init__(self, structure: Any) -> None:
        super().__init__()
        self.net, self.structure = profile_net(), structure

    def forward(self, x: Tensor) -> Any:
        found = self.net(x)
        return self.structure(found["profile"], found["count"])


Pair = namedtuple("Pair", ["signal", "other"])


@pytest.mark.parametrize(
    ("structure", "head"),
    [
        (lambda p, c: [c, p], "1"),
        (lambda p, c: {"out": {"human": p, "mouse": c}}, "out/human"),
        (lambda p, c: Pair(p, c), "signal"),
        (lambda p, _c: {"loss": p.sum(), "text": "no", "profile": p, "none": None}, None),
        (lambda p, _c: p, None),
    ],
)  # fmt: skip
def test_heads_of_all_structures(structure: Any, head: str | None) -> None:
    ready = mcd.Model(Nested(structure)).with_readout(head=head, reduce="sum", track_axis=0, tracks=[1])
    expected = mcd.mc_predict(model(reduce="sum", tracks="minus"), sequences(1), 3)
    np.testing.assert_allclose(mcd.mc_predict(ready, sequences(1), 3).mean, expected.mean, rtol=1e-6)


def test_heads_are_refused_by_name() -> None:
    counts = mcd.Model(profile_net(), outputs=["a", "b"])
    several = r"the model has 2 outputs: 'profile' of shape \(3, 64\), 'count' of shape \(2,\). Choose"
    with pytest.raises(TargetError, match=several):
        mcd.mc_predict(profile_net(), sequences(1), 2, reduce="sum")
    with pytest.raises(
        TargetError, match="head 'profil' names none of the model's outputs: 'profile' of"
    ):
        mcd.mc_predict(profile_net(), sequences(1), 2, head="profil", reduce="sum")
    with pytest.raises(InputError, match="output 'count' has no axis of bins"):
        mcd.mc_predict(counts, sequences(1), 2, head="count", reduce="sum")
    with pytest.raises(InputError, match="must name the tracks of the model's output 'count'"):
        mcd.mc_predict(model(head="count", reduce=None, tracks=None), sequences(1), 2)


def test_track_axis_is_asked_for_where_it_cannot_be_told() -> None:
    with pytest.raises(
        TargetError, match=r"no labels say .* give track_axis \(--track_axis\), one of 0, 1"
    ):
        mcd.mc_predict(profile_net(), sequences(1), 2, head="profile", reduce="sum")
    square = nn.Sequential(nn.Conv1d(4, 64, 1), nn.Dropout(0.2))
    named = mcd.Model(square, outputs=[f"t{i}" for i in range(64)])
    with pytest.raises(TargetError, match=r"fit axes 0 or 1: .* track_axis=0"):
        mcd.mc_predict(named, sequences(1), 2, reduce="sum", tracks="t3")
    by_axis = [
        mcd.mc_predict(named, sequences(1), 2, reduce="sum", tracks="t3", track_axis=axis)
        for axis in (0, 1)
    ]
    assert by_axis[0].labels == by_axis[1].labels == ("t3|sum",)
    assert by_axis[0].mean != by_axis[1].mean


def test_the_names_in_a_schema_are_those_of_the_tracks() -> None:
    kipoi = with_schema(
        profile_net(), {"profile": array(*TRACKS, name="profile"), "count": array("a", "b")}
    )
    found = mcd.mc_predict(kipoi, sequences(1), 2, head="profile", tracks="m*", reduce="mean")
    assert found.labels == ("minus|mean",)
    counts = mcd.mc_predict(kipoi, sequences(1), 2, head="count", tracks="b")
    assert counts.labels == ("b",)


class SqueezesOne(nn.Module):
    """A model that takes the batch away where it has one input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = OneHead(profile_net())

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze(0)


def test_a_model_that_squeezes_a_batch_of_one() -> None:
    words = {"reduce": "sum@16", "track_axis": 0}
    expected = mcd.mc_predict(OneHead(profile_net()), sequences(1), 3, **words)
    found = mcd.mc_predict(SqueezesOne(), sequences(1), 3, **words)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)


def test_an_output_that_is_no_tensor_for_each_input_is_refused() -> None:
    net = Nested(lambda p, c: {"a": p.sum(), "b": c.sum()})
    with pytest.raises(ModelError, match="no tensor of real numbers with the batch as first axis"):
        mcd.mc_predict(net, sequences(1), 2, reduce="sum")


def test_a_readout_and_a_selection_of_kipoi_interpret_exclude_each_other() -> None:
    with pytest.raises(InputError, match="either output_sel_fn"):
        mcd.MCDropoutISM(fixed(OneHead(profile_net())), "seq", output_sel_fn=lambda x: x, reduce="sum")


def test_labels_of_millions_of_outputs_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from kipoi_mcdropout.outputs import labels

    def forbidden(*_: Any) -> str:
        raise AssertionError("the label of a single output was made")

    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.weight = nn.Dropout(0.2), nn.Parameter(torch.ones(2000, 600))

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(x.sum((1, 2)))[:, None, None] * self.weight

    net = mcd.Model(Large(), outputs=[f"t{i}" for i in range(600)])
    with pytest.raises(
        TargetError, match=r"1200000 outputs .* reduce their bins \(--tracks, --reduce\)"
    ):
        mcd.mc_predict(net, sequences(1), 2)
    monkeypatch.setattr(labels.ArrayLabels, "label", forbidden)
    assert mcd.mc_predict(net, sequences(1), 2, tracks=["t5", 7], reduce="sum").labels == (
        "t5|sum",
        "t7|sum",
    )


def test_profiles_that_are_compared_have_the_same_bins_in_every_sequence() -> None:
    scorer = mcd.MCDropoutISM(
        OneHead(profile_net()), None, scores=["jsd"], n_draws=2, end=1, reduce="sum", track_axis=0
    )
    scorer.score(sequences(1))
    with pytest.raises(InputError, match=r"64 bins came before, now 40\. Give a window"):
        scorer.score(sequences(1)[:, :, :40])
    centre = mcd.MCDropoutISM(
        OneHead(profile_net()), None, scores=["jsd"], n_draws=2, end=1, reduce="sum@8", track_axis=0
    )
    for length in (64, 40):
        assert np.isfinite(centre.score(sequences(1)[:, :, :length])["jsd"]["ref_mean"]).all()
