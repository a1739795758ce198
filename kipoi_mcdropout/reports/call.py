"""`report`: effects in, one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kipoi_mcdropout.files.atomic import write_tsv
from kipoi_mcdropout.files.effects import Effects
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.reports.browser.facts import MOST_REGIONS
from kipoi_mcdropout.reports.effects import RankBy
from kipoi_mcdropout.reports.render import write_report


def report(
    effects: Effects | str | Path,
    output: str | Path,
    *,
    tables: Sequence[pd.DataFrame | str | Path] = (),
    top: int = 200,
    rank_by: RankBy = "z",
    title: str | None = None,
    figures: bool = True,
    annotation: str | Path | None = None,
    n_regions: int = MOST_REGIONS,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file that shows effects; it needs no network and nothing beside it.

    Parameters
    ----------
    effects : Effects, or the path of a file of effects
    output : str or Path
        .html; it appears when it is whole.
    tables : sequence of DataFrame, str or Path
        What else is shown: tables of `mr.estimates`, `EvaluationResult.table`, or files and folders that
        the commands `mr`, `export_mr` and `evaluate` have written, or the table of skipped alleles.
    top : int
        Rows of the table of top effects.
    rank_by : "z" or "effect"
        What makes them the top: |effect_mean| / effect_sd, or |effect_mean|.
    title : str, optional
        By default of the model's name.
    figures : bool
        Draw the plots.
    annotation : str or Path, optional
        Genes, named beside the effects and shown in the genome browser: GFF3 (.gff3, .gff), GTF (.gtf)
        or BED (.bed, 4 to 12 columns), plain or gzipped.
    n_regions : int
        Regions of the genome browser at most; 0 leaves it out.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        That of the report.

    Raises
    ------
    InputError
        If something given cannot be shown or used, or jinja2 or matplotlib is missing.
    OutputError
        If the output cannot be written.
    """
    with scratch_folder() as folder:
        shown = [_as_file(effects, folder)]
        for number, table in enumerate(tables, start=1):
            if isinstance(table, pd.DataFrame):
                path = folder / f"table{number}.tsv"
                write_tsv(table, path)
                table = path
            shown.append(Path(table))
        write_report(
            shown,
            output,
            top=top,
            rank_by=rank_by,
            title=title,
            figures=figures,
            annotation=annotation,
            n_regions=n_regions,
            overwrite=overwrite,
        )
    return Path(output)


def _as_file(effects: Effects | str | Path, folder: Path) -> Path:
    """The file that the effects are in; those in memory are written to one."""
    if not isinstance(effects, Effects):
        return Path(effects)
    if effects.path is not None:
        return effects.path
    # HDF5 has the draws too, but only sequences of one length.
    return effects.save(folder / ("effects.h5" if effects.has_draws else "effects.parquet"))
