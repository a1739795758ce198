"""Scores of reference and mutant within one draw: of single values, and of profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.effects.log2_fold_change import Log2FoldChange
from kipoi_mcdropout.effects.profile_scores import jsd, l2, l2_log, logsed, sax
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.identity import function_checksum

PairFunction = Callable[[Tensor, Tensor], Tensor]  # (ref, alt), broadcastable, float64


@dataclass(frozen=True)
class Score:
    """How the effect of a mutant is measured in one draw. Make one for a score of your own.

    Parameters
    ----------
    name : str
        As it stands in the results; not that of a score of this package.
    function : callable
        Of two tensors of float64, reference and mutant, batch first: the reduced outputs,
        shape=(..., outputs), element by element; or with `on_profiles` the bins of each output,
        shape=(n, outputs, bins), to shape=(n, outputs). It runs inside a draw, and must treat each input
        of the batch by itself. Where it is NaN or infinite, the score counts as undefined.
    logit_scale : bool
        The function takes logits, log(p / (1 - p)), and reference and mutant are summarised as logits.
    on_profiles : bool
        It compares profiles, before they are reduced; see `Readout`.
    signed : bool
        Its sign is the direction of the change. Mendelian randomization refuses scores without a sign.

    Raises
    ------
    InputError
        If the name is empty, or logits of profiles are asked for.

    Examples
    --------
    >>> Score("l1", lambda ref, alt: (alt - ref).abs().sum(-1), on_profiles=True, signed=False).name
    'l1'
    """

    name: str
    function: PairFunction
    logit_scale: bool = False
    on_profiles: bool = False
    signed: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not callable(self.function):
            raise InputError(
                f"a score must have a name and a function (ref, alt); got {self.name!r} and "
                f"{self.function!r}"
            )
        if self.logit_scale and self.on_profiles:
            raise InputError(f"score {self.name!r} cannot have profiles on the scale of logits")

    def __reduce__(self) -> tuple[Any, ...]:
        """By name, as the functions of the named ones cannot be pickled."""
        if SCORES.get(self.name) is self:
            return get_score, (self.name,)
        return Score, tuple(getattr(self, field.name) for field in fields(self))


def logit(p: Tensor) -> Tensor:
    """log(p / (1 - p)) in float64; infinite where p is 0 or 1, NaN where it is no probability."""
    logits: Tensor = torch.special.logit(p.to(torch.float64))
    return logits


def _deepsea_effect(ref: Tensor, alt: Tensor) -> Tensor:
    return (logit(alt) - logit(ref)).abs() * (alt - ref).abs()


SCORES = {
    score.name: score
    for score in (
        Score("ref", lambda ref, alt: ref.expand_as(alt), signed=False),
        Score("alt", lambda _ref, alt: alt, signed=False),
        Score("diff", lambda ref, alt: alt - ref),
        Score("logit", lambda ref, alt: alt - ref, logit_scale=True),
        Score("logit_ref", lambda ref, alt: ref.expand_as(alt), logit_scale=True, signed=False),
        Score("logit_alt", lambda _ref, alt: alt, logit_scale=True, signed=False),
        Score("deepsea_effect", _deepsea_effect, signed=False),
        Score("log2fc", Log2FoldChange()),
        Score("l2", l2, on_profiles=True, signed=False),
        Score("l2_log", l2_log, on_profiles=True, signed=False),
        Score("sax", sax, on_profiles=True),
        Score("jsd", jsd, on_profiles=True, signed=False),
        Score("logsed", logsed, on_profiles=True),
    )
}


def get_score(score: str | Score | Callable[..., object], **options: object) -> Score:
    """A score by its name in kipoi-interpret, or a callable on numpy arrays (ref, alt) as it has them.

    Parameters
    ----------
    score : str, Score, or callable
    options
        `pseudocount` of log2fc (`Log2FoldChange`). `rc_merging` is accepted for kipoi-interpret's sake;
        strands are averaged inside a draw, so only "mean" can be asked for.

    Raises
    ------
    InputError
        If there is no such score.
    """
    if score == "log2fc" and "pseudocount" in options:
        function = Log2FoldChange(options.pop("pseudocount"))  # type: ignore[arg-type]
        get_score(score, **options)
        return Score("log2fc", function)
    unknown = set(options) - {"rc_merging"}
    if unknown or options.get("rc_merging", "mean") != "mean":
        raise InputError(f"the only option of score {score!r} is rc_merging='mean'; got {options}")
    if isinstance(score, Score):
        known = SCORES.get(score.name, score)
        if score != known and not isinstance(score.function, Log2FoldChange):
            raise InputError(
                f"a score of your own needs another name than {score.name!r}, which is ours"
            )
        return score
    if isinstance(score, str):
        if score not in SCORES:
            raise InputError(f"score must be one of {', '.join(SCORES)}; got {score!r}")
        return SCORES[score]
    if callable(score):
        return Score(getattr(score, "__name__", type(score).__name__), _on_numpy(score))
    raise InputError(f"score must be a name or a callable (ref, alt); got {score!r}")


def parse_scores(
    scores: str | Score | Callable[..., object] | Sequence[str | Score | Callable[..., object]],
    score_kwargs: Sequence[dict[str, Any]] | None = None,
    pseudocount: float | None = None,
) -> tuple[Score, ...]:
    """Scores as kipoi-interpret takes them: one or several, maybe with options for each.

    `pseudocount` is that of log2fc.

    Raises
    ------
    InputError
        If there is no such score, or there are more or fewer options than scores; or if there is a
        pseudocount and no log2fc.
    """
    if isinstance(scores, (str, Score)) or callable(scores):
        scores = [scores]
    if score_kwargs is not None and len(score_kwargs) != len(scores):
        raise InputError(
            f"score_kwargs must have one dict per score ({len(scores)}); got {len(score_kwargs)}"
        )
    kwargs = [dict(options or {}) for options in score_kwargs or [{}] * len(scores)]
    if pseudocount is not None:
        if "log2fc" not in scores:
            raise InputError(
                "pseudocount (--pseudocount) is that of the score log2fc, which is not asked for"
            )
        kwargs[list(scores).index("log2fc")].setdefault("pseudocount", pseudocount)
    return tuple(get_score(score, **options) for score, options in zip(scores, kwargs, strict=True))


def scores_as_dict(scores: Sequence[Score]) -> dict[str, Any]:
    """The scores for the record of a run, as plain values."""
    found: dict[str, Any] = {"scores": [score.name for score in scores]}
    for score in scores:
        if isinstance(score.function, Log2FoldChange):
            found["pseudocount"] = float(score.function.pseudocount)
    own = [score for score in scores if score.name not in SCORES]
    if own:
        found["score_functions_sha256"] = {s.name: function_checksum(s.function) for s in own}
    if unsigned := [score.name for score in own if not score.signed]:
        found["unsigned_scores"] = unsigned
    return found


def _on_numpy(function: Callable[..., object]) -> PairFunction:
    def apply(ref: Tensor, alt: Tensor) -> Tensor:
        result = function(ref.expand_as(alt).cpu().numpy(), alt.cpu().numpy())
        return torch.as_tensor(np.asarray(result, dtype=np.float64), device=alt.device)

    return apply


def is_probability(outputs: Tensor) -> bool:
    """Whether all finite values lie in [0, 1]."""
    if outputs.numel() and bool(torch.isfinite(outputs.sum())):
        least, most = torch.aminmax(outputs)
        return least.item() >= 0 and most.item() <= 1
    finite = outputs[torch.isfinite(outputs)]
    return finite.numel() == 0 or (finite.min().item() >= 0 and finite.max().item() <= 1)
