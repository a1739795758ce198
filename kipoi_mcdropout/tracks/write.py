"""Writes tracks for genome browsers: of the positions of a mutagenesis, or of the alleles of a VCF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kipoi_mcdropout.files.effects import Effects
from kipoi_mcdropout.tracks.result import Outputs, open_result
from kipoi_mcdropout.tracks.signals import write_signals
from kipoi_mcdropout.tracks.track_files import TrackFiles, TrackOptions
from kipoi_mcdropout.tracks.variants import write_variants


def write_tracks(
    effects: Effects | str | Path,
    prefix: str | Path,
    *,
    outputs: Outputs = None,
    score: str | None = None,
    fasta_file: str | Path | None = None,
    formats: Sequence[str] | None = None,
    full_colour: float | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write effects as tracks for a genome browser, such as IGV or that of UCSC.

    The result of `ism` becomes bigWig and bedGraph files. For each output they have one number a
    position: `effect`, `sd` and `z` of the strongest substitution there, and `importance`, minus the
    mean effect of the alternatives. Where windows overlap, a position has the numbers of the window in
    whose middle it lies nearest. The result of `score_variants` becomes bigBed and BED files, for each
    output the alleles, coloured by effect. `PREFIX.tracks.json` lists the files, with the provenance.

    Parameters
    ----------
    effects : Effects, str or Path
        A path is that of a result: .h5, .tsv, .tsv.gz, .parquet, or a VCF that `score_variants` wrote.
    prefix : str or Path
        How the names of the files begin: PREFIX.OUTPUT.effect.bw. A folder where it ends in a slash.
    outputs : str, int, or sequence of them, optional
        By label, index or pattern; all by default, where there are at most 20.
    score : str, optional
        By default diff, else logit, else the first that is an effect.
    fasta_file : str or Path, optional
        Gives the lengths of the contigs. By default the FASTA of the run, if it is still there.
    formats : sequence of str, optional
        "bigwig" and "bedgraph", or "bigbed" and "bed"; by default both that fit the result.
    full_colour : float, optional
        Size of an effect from which on an allele has the full colour; by default the 99th percentile of
        those of the output.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the result has no coordinates, rows were removed from it, the FASTA is another one, or a
        package of the extra `tracks` is missing.
    TargetError
        If there is no such output.
    OutputError
        If a file exists, or cannot be made.

    Warns
    -----
    InputWarning
        If the lengths of the contigs are not known, or effects are not finite.
    """
    options = TrackOptions(outputs, score, fasta_file, formats, full_colour, overwrite)
    return make_tracks(effects, prefix, options).paths


def make_tracks(effects: Effects | str | Path, prefix: str | Path, options: TrackOptions) -> TrackFiles:
    """The same as `write_tracks`; what is returned also says what was written, in words."""
    result = open_result(effects)
    score = result.score(options.score)
    write = write_variants if result.is_variants else write_signals
    return write(result, str(prefix), score, options)
