"""How far outputs and effects in bfloat16 are from those in the model's own types, on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.verify import relative_error
from kipoi_mcdropout.sequence.mutants import MutantBatch

_SMALL_JOB = 5000  # forward passes of a run, below which the sample is as small as it can be
_SAMPLES = (2, 8)  # mutants, and as many draws: 12 or 144 forward passes


@dataclass(frozen=True)
class DtypeCheck:
    """Differences between two ways to compute the same draws of the same mutants.

    Attributes
    ----------
    dtype : str
    n_mutants, n_draws : int
        Size of the sample; `n_draws` is 0 where dropout is off.
    output_error : float
        Largest difference of an output, in units of the largest output.
    effect_error : float
        Of the effect (`diff`) of a mutant in a draw: root mean square of the difference, in units of
        the typical effect. Median over the outputs, as the next two.
    effect_error_in_sd : float
        The same in units of the typical sd of the effect over the draws; None with dropout off.
    mean_error_in_sd : float
        Of the mean of the effect over the draws, in the same units.
    """

    dtype: str
    n_mutants: int
    n_draws: int
    output_error: float
    effect_error: float | None
    effect_error_in_sd: float | None = None
    mean_error_in_sd: float | None = None

    def __str__(self) -> str:
        said = (
            f"{self.dtype} against float32, on {self.n_mutants} mutants: outputs differ by up to "
            f"{self.output_error:.2g} of the largest output"
        )
        if self.effect_error is not None:
            said += f", and effects of a draw by {self.effect_error:.2g} of a typical effect"
        if self.effect_error_in_sd is not None:
            said += f", which is {self.effect_error_in_sd:.2g} of a typical effect_sd"
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def sample_sizes(n_mutants: int, n_draws: int) -> tuple[int, int]:
    """How many mutants and draws are compared, for a job of so many; 0 draws with dropout off."""
    most = _SAMPLES[n_mutants * (n_draws + 1) >= _SMALL_JOB]
    return min(most, n_mutants), min(most, n_draws)


def check_dtype_error(
    model: LockedModel,
    masks: MaskBank,
    batch: MutantBatch,
    draws: Sequence[int],
    selected: Tensor | None = None,
    batch_size: int | None = None,
) -> DtypeCheck:
    """Compute all mutants of a batch in `model.dtype` and in the model's own types.

    Within `borrow()` of the model; see `MutantBatch`, `Engine.run` and `DtypeCheck`.
    """
    engine = FullEngine(model, masks, batch_size)

    def outputs() -> tuple[Tensor, Tensor]:
        blocks = list(engine.run(batch, draws, selected))
        slices = dict.fromkeys((block.mutants.start, block.mutants.stop) for block in blocks)
        parts = [
            torch.cat([b.alt for b in blocks if b.mutants.start == start]) for start, _ in slices
        ]
        ref = torch.cat([b.ref for b in blocks if b.mutants.start == blocks[0].mutants.start])
        return ref.double(), torch.cat(parts, dim=1).double()

    ref, alt = outputs()
    with model.own_types():
        exact_ref, exact_alt = outputs()
    owner = torch.from_numpy(batch.owner).to(ref.device)
    effects, exact = alt - ref[:, owner], exact_alt - exact_ref[:, owner]
    found = torch.cat([ref, alt], dim=1), torch.cat([exact_ref, exact_alt], dim=1)
    is_point = list(draws) == [POINT]
    in_sd: tuple[float | None, ...] = ()
    if not is_point:
        sd = exact.std(dim=0)
        in_sd = (
            _typical(_rms(effects - exact), _rms(sd)),
            _typical(_rms(effects.mean(dim=0) - exact.mean(dim=0)), _rms(sd)),
        )
    return DtypeCheck(
        model.dtype, batch.n_mutants, 0 if is_point else len(draws), relative_error(*found),
        _typical(_rms(effects - exact), _rms(exact)), *in_sd,
    )  # fmt: skip


def _rms(values: Tensor) -> Tensor:
    """Root mean square of each output, shape=(outputs,)."""
    return values.square().flatten(0, -2).mean(dim=0).sqrt()


def _typical(errors: Tensor, units: Tensor) -> float | None:
    """Median over the outputs, of those that have a unit; None where none has."""
    known = (units > 0) & torch.isfinite(errors)
    return float((errors[known] / units[known]).median()) if known.any() else None
