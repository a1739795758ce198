"""kipoi-veff's `score_variants`, with uncertainty and without its traps."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.veff.evaluation import McDropoutEffects
from kipoi_mcdropout.veff.filtering import Filtered, filter_snvs
from kipoi_mcdropout.veff.postprocessing import attach_postprocessing
from kipoi_mcdropout.veff.repair import repair

_WRITER = (
    "kipoi-veff's VcfWriter drops sample columns, turns FILTER PASS into . and respells numbers, has "
    "INFO IDs with colons that htslib rejects, and joins floats by | in a string; "
    "`kipoi mcdropout score_variants` writes a VCF without these"
)


class VeffWarning(UserWarning):
    """Something of kipoi-veff's way that a user may not expect."""


def score_variants(
    model: Any,
    dl_args: Mapping[str, Any],
    input_vcf: str | Path,
    output_vcf: str | Path | None = None,
    output_writers: list[Any] | None = None,
    scores: Sequence[str] = ("diff",),
    score_kwargs: Sequence[Mapping[str, object]] | None = None,
    num_workers: int = 0,
    batch_size: int = 32,
    source: str = "kipoi",
    seq_length: int | None = None,
    std_var_id: bool = False,
    restriction_bed: str | None = None,
    return_predictions: bool = False,
    model_outputs: Any = None,
    *,
    n_draws: int | None = None,
    seed: int = 0,
    ignore: Sequence[str] = (),
    members: Sequence[Any] = (),
) -> dict[str, pd.DataFrame] | None:
    """Score SNVs by kipoi-veff's own machinery, with locked dropout masks.

    The signature is that of `kipoi_veff.score_variants`; `n_draws`, `seed`, `ignore` and `members` are
    ours (`McDropoutEffects`). What kipoi-veff would get wrong is left out or refused, with a VeffWarning
    or an error that names it, and nothing is written beside the input.

    Returns
    -------
    dict of str to pandas.DataFrame, or None
        With `return_predictions`: see `McDropoutEffects`.

    Raises
    ------
    InputError
        If nothing can be scored, the windows are of odd length, or REF is not the sequence's base.
    """
    kipoi_veff: Any = repair()
    if output_vcf is None and not output_writers and not return_predictions:
        raise OutputError("give output_vcf, output_writers, or return_predictions=True; got none")
    if isinstance(model, str):
        import kipoi

        model = kipoi.get_model(model, source=source, with_dataloader=True)
    attach_postprocessing(model)
    evaluation = McDropoutEffects(tuple(scores), n_draws, seed, score_kwargs, ignore, members)
    info = kipoi_veff.ModelInfoExtractor(model, model.default_dataloader)
    with _own_temporary_folder(kipoi_veff) as folder:
        regions = kipoi_veff.snv_predict._get_vcf_to_region(info, restriction_bed, seq_length)
        window = _window(regions)
        plain = folder / "scored.vcf"
        kept = filter_snvs(input_vcf, plain, window)
        _warn(kept, output_vcf)
        if not kept.kept:
            raise InputError(f"{input_vcf} has no SNV that kipoi-veff can score: {dict(kept.left_out)}")
        tabixed = _tabixed(plain, folder)
        writers = list(output_writers or [])
        if output_vcf is not None:
            writers.append(
                kipoi_veff.VcfWriter(model, str(tabixed), str(output_vcf), standardise_var_id=std_var_id)
            )
        predictions: dict[str, pd.DataFrame] | None = kipoi_veff.predict_snvs(
            model,
            model.default_dataloader,
            str(tabixed),
            batch_size=batch_size,
            num_workers=num_workers,
            dataloader_args=dict(dl_args),
            vcf_to_region=regions,
            evaluation_function=evaluation,
            evaluation_function_kwargs={"output_filter": model_outputs},
            sync_pred_writer=writers or None,
            return_predictions=return_predictions,
        )
        return predictions


def _window(regions: Any) -> tuple[int, int] | None:
    """Bases before and after POS where kipoi-veff centres the windows."""
    before = getattr(regions, "centered_l_offset", None)
    if before is None:
        return None
    if regions.seq_length % 2:
        raise InputError(
            "in windows of odd length kipoi-veff does not put the variant into the centre; got "
            f"{regions.seq_length}. Use kipoi mcdropout score_variants"
        )
    return before, regions.centered_r_offset


def _warn(kept: Filtered, output_vcf: str | Path | None) -> None:
    for text in kept.warnings():
        warnings.warn(text, VeffWarning, stacklevel=3)
    if output_vcf is not None:
        samples = f" ({kept.n_samples} sample columns here)" if kept.n_samples else ""
        warnings.warn(_WRITER + samples, VeffWarning, stacklevel=3)


def _tabixed(plain: Path, folder: Path) -> Path:
    """A sorted, bgzipped and indexed copy: never the user's file."""
    import pysam

    target = folder / "scored.vcf.gz"
    pysam.tabix_compress(str(plain), str(target), force=True)
    try:
        pysam.tabix_index(str(target), preset="vcf", force=True)
    except OSError as error:
        raise InputError(
            f"kipoi-veff needs a VCF that is sorted by contig and position: {error}"
        ) from error
    return target


@contextlib.contextmanager
def _own_temporary_folder(kipoi_veff: Any) -> Iterator[Path]:
    """A folder for all temporary files, kipoi-veff's too, which leaves some of them behind."""
    module = kipoi_veff.snv_predict
    usual = module.tempfile
    with scratch_folder() as folder:
        module.tempfile = SimpleNamespace(mktemp=lambda: str(folder / uuid.uuid4().hex))
        try:
            yield folder
        finally:
            module.tempfile = usual
