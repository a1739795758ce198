"""Options of the scoring of a VCF, in groups that belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.background import BackgroundSource
from kipoi_mcdropout.outputs.strand_pairs import as_strand_pairs
from kipoi_mcdropout.sequence.contig_names import contig_map_of
from kipoi_mcdropout.significance.add_intervals import ConformalOptions
from kipoi_mcdropout.significance.same_run import VARIANT_FLANK_BP
from kipoi_mcdropout.vcf.place.grouping import Grouping
from kipoi_mcdropout.vcf.place.placement import IndelAlignment, PlacementOptions, RefMismatch
from kipoi_mcdropout.vcf.read.rows import InputFormat
from kipoi_mcdropout.vcf.read.source import AnySource, VariantSource, as_source
from kipoi_mcdropout.vcf.write.annotate import DEFAULT_STATISTICS


@dataclass(frozen=True)
class VariantOptions:
    """Which records are read, how alleles are placed, and over what their outputs are averaged.

    Parameters
    ----------
    rc : bool
        Average the outputs for both strands inside each draw.
    shifts : sequence of int
        Average the outputs for windows moved by so many bases inside each draw.
    strand_pairs : path, dict or sequence of pairs, optional
        With `rc`: tracks that change places on the other strand (`strand_pairs.as_strand_pairs`).
    indel_alignment : "none" or "stitch"
        "stitch" puts the bins behind an insertion or deletion back to those of the reference
        (`aligned.stitched`).
    normalize : bool
        Trim and left-align each allele before it is placed.
    edge : "pad" or "skip"
        What is done where a window runs over an end of its contig.
    ref_mismatch : "few", "skip" or "error"
        What is done where REF is not the genome's. It is never scored: "few" skips it, but refuses the
        VCF if half of its REF or more differ, and leaves out contigs of which that is true; "skip" skips
        it however many there are; "error" stops at the first.
    region : str, optional
        Only records that overlap it: CONTIG or CONTIG:FROM-TO, 1-based and inclusive.
    contig_map : mapping or path, optional
        From contigs of the VCF to those of the FASTA; a path is that of a file of two columns.
    quantiles : sequence of float
        Quantiles of the effect over the draws, in the table.
    background : str, Path or Background, optional
        A background, or its file, made with `BackgroundOptions(for_variants=True)`, among whose effects
        each effect is ranked: p-values, percentiles and q-values are added. p and q are those of single
        substitutions; other alleles have percentiles alone.
    until : float, optional
        Share to which each mean effect is to be known; then n_draws is the most that an allele gets, and
        each gets only as many as it needs. See `effects.until.Until`.
    threshold : float, or sequence of float with one for each score, optional
        The smallest effect that matters, for `until`, in the units of the score.
    input_format : "auto", "vcf", "table", "bed" or "names"
        What the file of variants is; "auto" finds out, or refuses.
    columns : dict of str to str, optional
        Names of the columns of a table for chrom, pos, ref, alt or id, where these are not clear, such
        as {"ref": "A2", "alt": "A1"}.
    phased : bool
        Score haplotypes: the alleles that lie on one copy of a sample's chromosome within the window
        about a record, together, against the reference. Needs phased genotypes in a sorted VCF.
    share_windows : int
        Records that follow each other within so many bases are scored in one window about their
        middle, whose reference is computed once; the variants are then off its centre.
    conformal : ConformalOptions, optional
        Calibrations that give each effect of their outputs an interval and the probability that its
        sign is right; see `files.calibration.read_conformal`.
    """

    rc: bool = False
    shifts: Sequence[int] = (0,)
    normalize: bool = False
    edge: Literal["pad", "skip"] = "pad"
    ref_mismatch: RefMismatch = "few"
    region: str | None = None
    contig_map: Mapping[str, str] | str | Path | None = None
    quantiles: Sequence[float] = ()
    background: BackgroundSource | None = None
    until: float | None = None
    threshold: float | Sequence[float] | None = None
    conformal: ConformalOptions | None = None
    strand_pairs: Any = None
    indel_alignment: IndelAlignment = "none"
    input_format: InputFormat = "auto"
    columns: Mapping[str, str] | None = None
    phased: bool = False
    share_windows: int = 0

    def __post_init__(self) -> None:
        if self.strand_pairs is not None:
            object.__setattr__(self, "strand_pairs", as_strand_pairs(self.strand_pairs))

    @property
    def moves_bins(self) -> bool:
        """Whether the bins of a profile are moved, so that their width must be known."""
        return tuple(self.shifts) != (0,) or self.indel_alignment != "none"

    def source_of(self, variants: AnySource) -> VariantSource:
        """Where variants come from, read as these options say."""
        return as_source(variants, self.input_format, self.columns)

    def grouping(self, length: int) -> Grouping:
        """Which records are put together in windows of a length, bp.

        Raises
        ------
        InputError
            If haplotypes are asked for with something that is not theirs, or shared windows would not
            hold all their variants.
        """
        if self.phased:
            for is_given, what, remedy in (
                (self.normalize, "normalize (--normalize)", "bcftools norm does it"),
                (self.indel_alignment != "none", "indel_alignment (--indel_alignment)", "leave it out"),
                (
                    self.share_windows,
                    "share_windows (--share_windows)",
                    "each haplotype has its window about the record",
                ),
            ):
                if is_given:
                    raise InputError(f"phased (--phased) cannot be used with {what}; {remedy}")
        if self.background is not None and self.share_windows > 2 * VARIANT_FLANK_BP:
            raise InputError(
                f"with a background, share_windows (--share_windows) must be at most "
                f"{2 * VARIANT_FLANK_BP}: it has the effects of substitutions at most "
                f"{VARIANT_FLANK_BP} bp from the middle of the window; got {self.share_windows}"
            )
        return Grouping.of_windows(length, tuple(self.shifts), self.phased, self.share_windows)

    def placement(self, length: int, known_only: bool = False) -> PlacementOptions:
        """How alleles are placed in windows of a length, bp; see `PlacementOptions.known_only`."""
        return PlacementOptions(length, known_only=known_only, **self.placement_as_dict())

    def placement_as_dict(self) -> dict[str, Any]:
        """The part that places alleles, as plain values."""
        return {
            "shifts": tuple(self.shifts), "normalize": self.normalize, "edge": self.edge,
            "ref_mismatch": self.ref_mismatch,
            **({} if self.indel_alignment == "none" else {"indel_alignment": self.indel_alignment}),
        }  # fmt: skip

    def strands_as_dict(self) -> dict[str, Any]:
        """What is done with the other strand, as plain values."""
        pairs = None if self.strand_pairs is None else [list(pair) for pair in self.strand_pairs.pairs]
        return {"rc": self.rc, **({} if pairs is None else {"strand_pairs": pairs})}

    @property
    def contig_map_file(self) -> str | Path | None:
        """The file that the contig map is in."""
        return self.contig_map if isinstance(self.contig_map, (str, Path)) else None

    def contig_names(self) -> dict[str, str]:
        """The contig map, read where it is in a file."""
        return contig_map_of(self.contig_map)


@dataclass(frozen=True)
class VcfOptions:
    """What is written beside and into the outputs of a scored VCF.

    Parameters
    ----------
    skipped : str or Path, optional
        Table (TSV) of the skipped alleles with the reasons.
    targets : str, int, or sequence of them, optional
        Those of the computed outputs that the annotated VCF carries; all of them, if they are few.
    statistics : sequence of str
        What it carries for each score and output (`annotate.VCF_STATISTICS`).
    info_prefix : str
        Of all INFO IDs that are added.
    q_values : bool
        Add Benjamini-Hochberg q-values to the table, over all its rows of a score.
    member_means : bool
        Add the mean effect of each member to the table, in columns `effect_mean_1`, `effect_mean_2`,
        ..., in the order in which the members were given.
    strict : bool
        Raise SkippedAllelesError at the end if anything was skipped; the outputs are written.
    """

    skipped: str | Path | None = None
    targets: str | int | Sequence[str | int] | None = None
    statistics: Sequence[str] = DEFAULT_STATISTICS
    info_prefix: str = "MCD"
    q_values: bool = False
    member_means: bool = False
    strict: bool = False


@dataclass(frozen=True)
class VariantEffects:
    """What is computed of each allele: all that the numbers depend on beside the model and the files."""

    effects: EffectOptions
    seed: int = 0
    targets: Any = None
    options: VariantOptions = field(default_factory=VariantOptions)
    vcf: VcfOptions = field(default_factory=VcfOptions)
