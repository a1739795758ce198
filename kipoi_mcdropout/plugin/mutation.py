"""kipoi-interpret's ISM scorer with uncertainty: the method `mcdropout_ism`.

Importing this module imports no torch: Kipoi's command line loads it to list the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from kipoi_interpret.importance_scores.ism import Mutation
from kipoi_interpret.importance_scores.ism_scores import scoring_options

from kipoi_mcdropout.errors import InputError

if TYPE_CHECKING:
    from kipoi_mcdropout.arrays.nested import Nested
    from kipoi_mcdropout.effects.saturation import SaturationMutagenesis, SequenceEffects


class MCDropoutISM(Mutation):  # type: ignore[misc] # kipoi_interpret has no types
    """In-silico mutagenesis with the model's uncertainty, by Monte Carlo dropout with locked masks.

    Takes what kipoi-interpret's `Mutation` takes, and works where it works.

    Parameters
    ----------
    model : kipoi model, nn.Module, or list of them
        With a torch module inside, as `kipoi.get_model` returns it. It is not changed. A list holds the
        members of an ensemble, as in `Model`; a draw is then a member and its masks.
    model_input : str or int
        Name (or number) of the input to mutate.
    scores : sequence of str or callable
        Any of ref, alt, diff, logit, logit_ref, logit_alt, deepsea_effect, log2fc, applied within each
        draw.
    score_kwargs : sequence of dict, optional
        One per score, as in kipoi-interpret.
    batch_size : int, optional
        Inputs in one forward pass; by default as many as fit into memory, at most 32.
    output_sel_fn : callable, optional
        Applied to each input's outputs before scoring.
    id_value : int
        Accepted because `Mutation` has it; it has no effect there either.
    category_axis : int, optional
        Axis of the bases in one input (without the batch): 1 for (1000, 4), 0 for (4, 1000). By default
        the only axis whose length is the number of letters of the alphabet.
    test_ref_ref : bool
        Also report each reference base "mutated" to itself; its effect is exactly 0.
    n_draws : int, optional
        Number of draws, at least 2; or 0 for effects with dropout off, of any model. By default 30, or
        as many as are right for the members (`ensemble.default_draws`).
    seed : int
        0 <= seed < 2**64. The result depends only on model, inputs, seed and n_draws.
    targets : sequence of str or int, optional
        Outputs to report, by label, index or shell pattern; all by default.
    start, end : int
        Window of positions to mutate, 0-based and half-open.
    mask_scope : {"run", "sequence"}
        "run": in a draw, all sequences share the masks. "sequence": each sequence has its own masks.
    quantiles : sequence of float
        Quantiles of the effect over the draws to report.
    keep_draws : bool
        Also return the effect of every draw.
    ignore : sequence of str
        Modules whose dropout stays off, including the dropout inside them.
    engine : {"auto", "incremental", "full"}
        "full" runs the whole model on each mutant. "incremental" computes only what a mutation changes;
        it is exact, and many times faster for convolutional models. "auto" chooses by the model and the
        sizes of the run, the same engine for all sequences of a shape.
    memory_bytes : int, optional
        Approximate memory for activations of the incremental engine, in addition to the weights.
    verify : bool
        Recompute a small sample of mutants and draws by the plain forward pass, and raise if they
        differ by more than 1e-5 of the output's scale (float32).
    alphabet : str, optional
        Letters along the axis of the bases, in order; by default the dataloader's alphabet, else ACGT.
    label_axis : int, optional
        The axis of an output (without the batch) that the model's column labels name; needed if several
        axes have their length.
    vocabulary : dict, str, Path or Vocabulary, optional
        The token of each base, where the input to mutate is tokens; see `sequence.vocabulary`.
    dtype : {"float32", "bfloat16"}
        Type in which the model computes; see `kipoi_mcdropout.Model.with_dtype`.
    device : str, optional
        Where the model computes, "auto", "cpu", "cuda", "cuda:N" or "mps"; by default where it is.
    allow_tf32 : bool
        Let a GPU round float32 products to TF32; see `kipoi_mcdropout.Model.with_device`.
    pseudocount : float, optional
        Of the score log2fc; 1 by default.
    outputs
        `head`, `tracks`, `center_bins`, `reduce` and the other words of a `Readout`: what is read of the
        outputs of the model, and reduced, in each draw.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run with locked dropout, or an argument is not as stated.

    Examples
    --------
    >>> model = kipoi.get_model("example/model", source="dir")               # doctest: +SKIP
    >>> ism = MCDropoutISM(model, "seq", n_draws=30, seed=0, targets=["DNase"])  # doctest: +SKIP
    >>> ism.score(batch["inputs"])["diff"]["effect_sd"].shape                # doctest: +SKIP
    (8, 500, 4, 1)
    """

    def __init__(
        self,
        model: Any,
        model_input: Any,
        scores: Sequence[str | Callable[..., Any]] | str = ("diff",),
        score_kwargs: Sequence[dict[str, Any]] | None = None,
        batch_size: int | None = None,
        output_sel_fn: Callable[..., Any] | None = None,
        id_value: int = 0,
        category_axis: int | None = None,
        test_ref_ref: bool = False,
        *,
        n_draws: int | None = None,
        seed: int = 0,
        targets: Sequence[str | int] | str | int | None = None,
        start: int = 0,
        end: int | None = None,
        mask_scope: str = "run",
        quantiles: Sequence[float] = (),
        keep_draws: bool = False,
        ignore: Sequence[str] = (),
        engine: str = "auto",
        memory_bytes: int | None = None,
        verify: bool = True,
        alphabet: str | None = None,
        label_axis: int | None = None,
        vocabulary: Any = None,
        dtype: str = "float32",
        device: str | None = None,
        allow_tf32: bool = False,
        pseudocount: float | None = None,
        **outputs: Any,
    ) -> None:
        from kipoi_mcdropout.effects.asked_outputs import readout_for
        from kipoi_mcdropout.effects.saturation import IsmOptions, SaturationMutagenesis
        from kipoi_mcdropout.effects.scores import parse_scores
        from kipoi_mcdropout.effects.summary import EffectOptions
        from kipoi_mcdropout.model.adapter import KipoiModel, alphabet_of
        from kipoi_mcdropout.model.ensemble import Ensemble, check_balanced, draws_of
        from kipoi_mcdropout.outputs.readout import Readout
        from kipoi_mcdropout.outputs.targets import as_targets
        from kipoi_mcdropout.runs.options import RunOptions
        from kipoi_mcdropout.sequence.layout import Encoding
        from kipoi_mcdropout.sequence.one_hot import check_alphabet
        from kipoi_mcdropout.sequence.vocabulary import as_vocabulary

        given = list(model) if isinstance(model, (list, tuple)) else [model]
        scores = [scores] if isinstance(scores, str) or callable(scores) else list(scores)
        chosen = parse_scores(scores, score_kwargs, pseudocount)
        readout = readout_for(Readout.of(outputs, "MCDropoutISM"), chosen)
        own = (output_sel_fn, ignore, label_axis)
        ensemble = Ensemble.of(
            [
                KipoiModel(
                    one, *own, dtype=dtype, readout=readout, device=device, allow_tf32=bool(allow_tf32)
                )
                for one in given
            ]
        )
        letters = alphabet_of(given[0]) if alphabet is None else check_alphabet(alphabet)
        names = [score for score in scores if score in scoring_options]  # those of kipoi-interpret
        super().__init__(
            model, model_input, names, None, batch_size, output_sel_fn, id_value,
            1 if category_axis is None else category_axis, test_ref_ref,
        )  # fmt: skip
        options = IsmOptions(
            model_input,
            EffectOptions(chosen, draws_of(n_draws, len(ensemble)), tuple(quantiles), keep_draws),
            seed,
            as_targets(targets),
            Encoding(category_axis, letters, None if vocabulary is None else as_vocabulary(vocabulary)),
            start,
            end,
            test_ref_ref,
            mask_scope,
            batch_size,
            engine,
            RunOptions(memory_bytes=memory_bytes).memory_on(ensemble.first.locked.device),
            verify,
        )
        if n_draws is not None:
            check_balanced(n_draws, len(ensemble))
        self.options = options
        self.mutagenesis: SaturationMutagenesis = SaturationMutagenesis(ensemble, options)

    @classmethod
    def is_compatible(cls, model: Any) -> bool:
        """Whether the model, or each of a list, has a torch module, whose dropout can be controlled."""
        from kipoi_mcdropout.model.identity import torch_module

        given = list(model) if isinstance(model, (list, tuple)) else [model]
        return bool(given) and all(torch_module(member) is not None for member in given)

    def effects(
        self, input_batch: Nested, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[SequenceEffects]:
        """Effects of each sequence of a batch, one at a time, flat over the mutants."""
        self._decide_draws(input_batch)
        return self.mutagenesis.run(input_batch, progress)

    def _decide_draws(self, input_batch: Nested) -> None:
        """The number of draws, where it was left to the model; the first inputs say it."""
        from kipoi_mcdropout.effects.saturation import SaturationMutagenesis
        from kipoi_mcdropout.model.ensemble import OWN_DRAWS, decided_draws

        effects = self.options.effects
        if effects.n_draws != OWN_DRAWS:
            return
        ensemble = self.mutagenesis.ensemble
        n_draws = decided_draws(OWN_DRAWS, ensemble, input_batch)
        self.options = replace(self.options, effects=replace(effects, n_draws=n_draws))
        self.mutagenesis = SaturationMutagenesis(ensemble, self.options)

    def score(self, input_batch: Nested) -> dict[str, dict[str, np.ndarray]]:
        """Effects of all substitutions of a batch of sequences.

        Parameters
        ----------
        input_batch : numpy.ndarray, or dict or list of them, batch first
            `batch["inputs"]` of a Kipoi dataloader.

        Returns
        -------
        dict of str to dict of str to numpy.ndarray
            For each score: `ref_mean`, `ref_var`, `ref_point`, shape=(n, outputs), and for each
            substitution `alt_mean`, `alt_var`, `alt_point`, `ref_alt_cov`, `effect_mean`,
            `effect_sd`, `effect_mcse`, `effect_point`, `prob_positive`, `n_nonfinite`,
            `n_saturated`, the quantiles (`effect_q0.05`, ...), all float64 with shape=(n, *input shape,
            outputs), NaN where nothing is mutated; with keep_draws `effect_draws`, float32,
            shape=(n, *input shape, outputs, draws). `outputs` are `output_labels`. With several members
            also the parts of the variances within and between them, `sign_agreement`, and
            `effect_member_mean`, shape=(n, *input shape, outputs, members).
        """
        from kipoi_mcdropout.effects.saturation import dense

        sequences: list[dict[str, dict[str, np.ndarray]]] = []
        n_positions = 0
        for effects in self.effects(input_batch):
            if sequences and effects.layout.n_positions != n_positions:
                raise InputError(
                    "score gives arrays, so all sequences must have the same number of bases; sequence "
                    f"{len(sequences)} has {effects.layout.n_positions}, the first {n_positions}. Use "
                    "kipoi_mcdropout.ism, or one sequence at a time"
                )
            n_positions = effects.layout.n_positions
            by_score = {}
            for summary in effects.summaries:
                arrays = {name: values[0] for name, values in summary.reference.items()}
                for name, values in summary.per_mutant().items():
                    arrays[name] = dense(effects, values, np.nan)
                by_score[summary.score.name] = arrays
            sequences.append(by_score)
        if not sequences:
            raise InputError("the batch must have at least one sequence; got none")
        return {
            score: {name: np.stack([s[score][name] for s in sequences]) for name in arrays}
            for score, arrays in sequences[0].items()
        }

    def output_labels(self, input_batch: Nested) -> tuple[str, ...]:
        """Labels of the outputs that `score` reports, in order."""
        return self.mutagenesis.targets(input_batch).labels


for _call in globals().pop("_when_loaded", []):  # of plugin.registration
    _call()
