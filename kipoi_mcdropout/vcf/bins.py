"""The bins of profiles where the outputs of several windows of a variant are put together."""

from __future__ import annotations

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.outputs.aligned import BinViews
from kipoi_mcdropout.vcf.options import VariantOptions


def with_aligned_bins(model: Model, options: VariantOptions) -> Model:
    """The model, made to give the bins where these must be brought into line before they are reduced.

    The same model where nothing moves the bins, or where that makes no difference: both strands, and
    windows that lie evenly about the centre.

    Raises
    ------
    InputError
        If an option needs bins, and none are read; or if it needs another option.
    """
    stitches, moved = options.indel_alignment == "stitch", tuple(options.shifts) != (0,)
    if options.strand_pairs is not None and not options.rc:
        raise InputError(
            "strand_pairs (--strand_pairs) are used with rc (--rc), which reads both strands"
        )
    readout = model.settings.readout
    if readout is None or not readout.reduce:
        for is_given, what in (
            (options.strand_pairs is not None, "strand_pairs (--strand_pairs)"),
            (stitches, "indel_alignment stitch (--indel_alignment)"),
        ):
            if is_given:
                raise InputError(
                    f"{what} moves the bins of profiles: say which are read, and how they become one "
                    "number, with reduce (--reduce), such as sum@32"
                )
        return model
    if not (options.rc or moved or stitches):
        return model
    needs_bins = moved or stitches or options.strand_pairs is not None or readout.keeps_bins
    if not needs_bins and _all_even(model):
        return model
    views = BinViews(
        model.sequences.length, tuple(options.shifts), options.rc, options.strand_pairs, stitches,
        readout.bin_bp,
    )  # fmt: skip
    return model.reading(readout.aligning(views), instead=True)


def _all_even(model: Model) -> bool:
    """Whether all windows of bins lie evenly about the centre, so that both strands have the same."""
    with model.adapter.locked.borrow():
        model.adapter.example_outputs(model.sequences.example())
    reader = model.adapter.reader
    assert reader is not None
    bound = reader.bound
    return all(window.start + window.end == bound.axes.n_bins for window in bound.windows)
