"""An evaluation function for `kipoi_veff.predict_snvs`: effects with uncertainty, masks paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, leaves, n_rows, take
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.members import Member, summarize_members
from kipoi_mcdropout.effects.scores import Score, get_score
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.engine.full import DrawBlock
from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.model.adapter import KipoiModel, alphabet_of
from kipoi_mcdropout.model.ensemble import Ensemble, check_balanced, decided_draws, draws_of
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.one_hot import DNA
from kipoi_mcdropout.vcf.read.alleles import Edit as _Edit
from kipoi_mcdropout.vcf.read.alleles import kind_of, unscorable

STATISTICS = ("mean", "sd", "mcse", "point", "prob_positive")
_NAMES = dict(
    zip(STATISTICS[:4], ("effect_mean", "effect_sd", "effect_mcse", "effect_point"), strict=True)
)


class McDropoutEffects:
    """What `predict_snvs(evaluation_function=...)` calls with each batch of sequences.

    Within a draw reference and alternative, of both strands and in all batches, see the same masks. The
    outputs of the two strands are averaged within a draw, before scoring (kipoi-veff averages scores).

    Parameters
    ----------
    scores : sequence of str
        kipoi-veff's names: ref alt diff logit logit_ref logit_alt deepsea_effect.
    n_draws, seed : int
        As in `score_variants`.
    score_kwargs : sequence of dict, optional
        One per score; only {"rc_merging": "mean"} means something.
    ignore : sequence of str
        Modules whose dropout is left off, and that of the modules inside them.
    members : sequence of Kipoi models
        Further trained networks beside the model that `predict_snvs` is given, with the same inputs and
        outputs, by the same names; a draw is then a member and its masks.

    Notes
    -----
    Results are DataFrames, a row per record and a column per model output, named "SCORE_STATISTIC" with
    the statistics mean, sd, mcse, point and prob_positive; with members also sd_within, sd_between and
    sign_agreement.
    """

    def __init__(
        self,
        scores: Sequence[str | Score] = ("diff",),
        n_draws: int | None = None,
        seed: int = 0,
        score_kwargs: Sequence[Mapping[str, object]] | None = None,
        ignore: Sequence[str] = (),
        members: Sequence[Any] = (),
    ) -> None:
        kwargs = [{}] * len(scores) if not score_kwargs else list(score_kwargs)
        if len(kwargs) != len(scores):
            raise InputError(
                f"score_kwargs must have one dict per score; got {len(kwargs)} for {len(scores)} scores"
            )
        chosen = tuple(get_score(s, **options) for s, options in zip(scores, kwargs, strict=True))
        if n_draws is not None:
            check_balanced(n_draws, 1 + len(members))
        self.options = EffectOptions(chosen, draws_of(n_draws))
        self.masks = MaskBank(seed)
        self.ignore = tuple(ignore)
        self.members = tuple(members)
        self._ensembles: dict[int, tuple[Any, Ensemble]] = {}

    def __call__(
        self,
        model: Any,
        output_reshaper: Any = None,
        ref: Nested = None,
        alt: Nested = None,
        ref_rc: Nested = None,
        alt_rc: Nested = None,
        line_id: Any = None,
        vcf_records: Sequence[Any] = (),
        out_annotation_all_outputs: Any = None,
        output_filter: Any = None,
        **_: Any,
    ) -> dict[str, pd.DataFrame]:
        """Effects of one batch; see `kipoi_veff.predict_snvs` for the arguments.

        Raises
        ------
        InputError
            If a record is not one that kipoi-veff puts into the sequence as it is: it has one ALT, and
            REF and ALT are single bases.
        """
        for record in vcf_records:
            _refuse_mangled(record)
        ensemble = self._ensemble(model, ref)
        views = [(ref, alt)] if ref_rc is None or alt_rc is None else [(ref, alt), (ref_rc, alt_rc)]
        first = ensemble.first
        with first.locked.borrow():
            targets = first.targets(first.example_outputs(ref), None)
        targets = _select(targets, output_filter)
        pairs: Any = _Pairs(views)  # as much of a MutantBatch as is looked at
        members = self._members(ensemble, views)
        summaries = summarize_members(members, pairs, targets, self.options)
        return {
            f"{summary.score.name}_{name}": pd.DataFrame(values, columns=list(targets.labels))
            for summary in summaries
            for name, values in _tables(summary).items()
        }

    def _ensemble(self, model: Any, ref: Nested) -> Ensemble:
        if id(model) not in self._ensembles:
            if (alphabet := alphabet_of(model)) != DNA:
                raise InputError(
                    f"kipoi-veff writes A, C, G, T into the rows of a model; this one takes {alphabet}. "
                    "Use kipoi mcdropout score_variants, which uses the model's order"
                )
            adapters = [KipoiModel(member, ignore=self.ignore) for member in (model, *self.members)]
            ensemble = Ensemble.of(adapters)
            n_draws = decided_draws(self.options.n_draws, ensemble, ref)
            self.options = replace(self.options, n_draws=n_draws)
            with ensemble.first.locked.borrow():
                targets = ensemble.first.targets(ensemble.first.example_outputs(ref), None)
            ensemble.check_targets(ref, (), targets)
            self._ensembles = {id(model): (model, ensemble)}
        return self._ensembles[id(model)][1]

    def _members(self, ensemble: Ensemble, views: Sequence[tuple[Nested, Nested]]) -> list[Member]:
        several = len(ensemble) > 1 and self.options.n_draws > 0
        is_random = ensemble.is_random(views[0][0]) if several else (True,) * len(ensemble)
        each = zip(ensemble.members, is_random, ensemble.names, strict=True)
        return [
            Member(_PairEngine(adapter, self.masks, views), adapter.locked.borrow, random, name)
            for adapter, random, name in each
        ]


def _tables(summary: EffectSummary) -> dict[str, NDArray[np.float64]]:
    tables = {name: summary.mutant[ours] for name, ours in _NAMES.items()}
    tables["prob_positive"] = summary.mutant["prob_positive"]
    if summary.member_means is not None:
        tables["sd_within"] = summary.mutant["effect_sd_within"]
        tables["sd_between"] = summary.mutant["effect_sd_between"]
        tables["sign_agreement"] = summary.mutant["sign_agreement"]
    return tables


def _refuse_mangled(record: Any) -> None:
    """Refuse alleles for which kipoi-veff would use only the first ALT or encode a missing base."""
    place = f"{record.CHROM}:{record.POS} {record.REF}>{','.join(record.ALT)}"
    if len(record.ALT) != 1:
        raise InputError(
            f"{place}: kipoi-veff would score only the first ALT. Use kipoi mcdropout score_variants"
        )
    (alt,) = record.ALT
    skip = unscorable(record.REF, alt)
    if skip is not None or len(record.REF) != 1 or kind_of(_Edit(0, record.REF, alt)) != "snv":
        why = "no SNV" if skip is None else skip.reason
        raise InputError(
            f"{place} is {why}: kipoi-veff would score it as a sequence without a base there. Use "
            "kipoi mcdropout score_variants"
        )


def _select(targets: Targets, wanted: Any) -> Targets:
    """kipoi-veff's output_filter: a mask over the outputs, their numbers, or their labels."""
    if wanted is None:
        return targets
    values = np.atleast_1d(np.asarray(wanted))
    if values.dtype == bool:
        if len(values) != len(targets.labels):
            raise TargetError(
                f"a mask over the outputs must have {len(targets.labels)} values; got {len(values)}"
            )
        columns = np.flatnonzero(values).tolist()
    elif np.issubdtype(values.dtype, np.integer):
        columns = sorted(set(values.tolist()))
    else:
        missing = [v for v in values if v not in targets.labels]
        if missing:
            raise TargetError(f"model_outputs {missing} name none of the outputs {targets.labels[:10]}")
        columns = [i for i, label in enumerate(targets.labels) if label in values]
    if not columns or min(columns) < 0 or max(columns) >= len(targets.labels):
        raise TargetError(
            f"model_outputs must be among 0 to {len(targets.labels) - 1}; got {values.tolist()}"
        )
    labels = tuple(targets.labels[i] for i in columns)
    return replace(targets, labels=labels, columns=tuple(columns))


class _Pairs:
    """As much of a MutantBatch as the summaries need: mutant i belongs to reference i."""

    def __init__(self, views: Sequence[tuple[Nested, Nested]]) -> None:
        self.n_mutants = n_rows(views[0][0])
        self.reference_codes = np.empty((self.n_mutants, 0), np.uint8)
        self.owner = np.arange(self.n_mutants)
        same = np.ones(self.n_mutants, bool)
        for ref, alt in views:
            for (_, x), (_, y) in zip(leaves(ref), leaves(alt), strict=True):
                same &= (np.asarray(x) == np.asarray(y)).reshape(self.n_mutants, -1).all(axis=1)
        self._same = same

    def unchanged(self) -> NDArray[np.bool_]:
        """Which mutants equal their reference on all strands."""
        return self._same


class _PairEngine:
    """References and mutants that are given as inputs of the model, views averaged in each draw."""

    def __init__(
        self, adapter: KipoiModel, masks: MaskBank, views: Sequence[tuple[Nested, Nested]]
    ) -> None:
        self.adapter = adapter
        self.masks = masks
        self.views = [tuple(adapter.tensors(x) for x in pair) for pair in views]

    def run(
        self, batch: Any, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `engine.Engine.run`: one block a draw."""
        rows = slice(0, batch.n_mutants)
        for draw in draws:
            ref, alt = (
                torch.stack([self._outputs(view[side], draw, selected) for view in self.views])
                .to(torch.float64)
                .mean(dim=0)
                for side in (0, 1)
            )
            yield DrawBlock(rows, ref[None], alt[None])

    def _outputs(self, inputs: Nested, draw: int, selected: Tensor | None) -> Tensor:
        return self.adapter.locked.outputs(
            take(inputs, slice(None)), draw, self.masks, selected=selected
        )
