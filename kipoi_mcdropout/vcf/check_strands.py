"""Whether the outputs of several views of a window can be averaged."""

from __future__ import annotations

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.vcf.options import VariantEffects


def check_strands(wanted: VariantEffects, model: Model) -> None:
    """Raise InputError where bins would be averaged that are not the same bases."""
    reader, options = model.adapter.reader, wanted.options
    views = "rc (--rc)" if options.rc else "shifts (--shifts)" if tuple(options.shifts) != (0,) else ""
    if not views or reader is None:
        return
    if reader.readout.keeps_bins:
        raise InputError(
            f"{views} averages outputs whose bins are not the same bases, so profiles cannot be "
            "compared after it; use it with scores of reduced values alone, such as diff or log2fc"
        )
    if not options.rc:
        return
    n_bins = reader.bound.axes.n_bins
    for window in reader.bound.windows:
        if window.start + window.end != n_bins:
            raise InputError(
                "rc (--rc) reads the other strand too, whose bins run the other way, so a window of "
                f"bins must be symmetric about the centre; {window.reduction.name} takes the bins "
                f"{window.start}:{window.end} of {n_bins}"
            )
