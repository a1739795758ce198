"""Figures to files and bytes: the same bytes for the same figure, with the provenance inside."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import AtomicFile, check_free, check_outputs
from kipoi_mcdropout.files.first_line import PROVENANCE_KEY
from kipoi_mcdropout.plots.style import MM_PER_INCH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
SUFFIXES = tuple(f".{name}" for name in FORMATS)
_DECIMALS = 6  # of the place of a panel, as a share of the figure
_SETTINGS: dict[Any, Any] = {"svg.hashsalt": PROVENANCE_KEY, "svg.fonttype": "path", "pdf.fonttype": 42}


def save_figure(
    what: Any,
    paths: str | Path | Sequence[str | Path],
    *,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    dpi: int = 300,
) -> None:
    """Write a figure to one file or several; the suffix says the format: .png, .svg or .pdf.

    A file gets its name only when it is complete. The same figure always gives the same bytes: no date
    is written.

    Parameters
    ----------
    what : Figure, Axes, or dict or sequence of Axes
        As the plots return.
    paths : str, Path, or several
    overwrite : bool
    provenance : mapping, optional
        Put into the file's metadata as JSON: PNG and SVG "Description", PDF "Subject".
    dpi : int
        Dots per inch of PNG files, and of the parts of other files that are drawn as pixels.

    Raises
    ------
    OutputError
        If a file exists and `overwrite` was not asked for, or cannot be written.
    """
    wanted = [paths] if isinstance(paths, (str, Path)) else list(paths)
    checked = check_outputs(wanted, SUFFIXES)
    check_free(checked, overwrite)
    files: list[AtomicFile] = []
    try:
        with _fixed_layout(figure_of(what)):
            for path in checked:
                files.append(AtomicFile(path, overwrite))
                data = figure_bytes(what, path.suffix[1:], provenance=provenance, dpi=dpi)
                files[-1].temporary.write_bytes(data)
        for file in files:
            file.commit()
    except BaseException:
        for file in files:
            file.discard()
        raise


def figure_bytes(
    what: Any, form: str = "svg", *, provenance: Mapping[str, Any] | None = None, dpi: int = 300
) -> bytes:
    """A figure as the bytes of a file; parameters as of `save_figure`.

    Raises
    ------
    InputError
        If the format is not one of "png", "svg", "pdf".
    """
    from matplotlib import rc_context

    if form not in FORMATS:
        raise InputError(f"a figure's format must be one of {', '.join(FORMATS)}; got {form!r}")
    buffer = io.BytesIO()
    figure = figure_of(what)
    with rc_context(_SETTINGS), _fixed_layout(figure):
        figure.savefig(buffer, format=form, dpi=dpi, metadata=_metadata(form, provenance))
    return buffer.getvalue()


@contextlib.contextmanager
def _fixed_layout(figure: Figure) -> Iterator[None]:
    """Compute the layout of the panels once and fix it: each new drawing would move them slightly.

    Places are rounded, since the solver's last digits differ from run to run.
    """
    from matplotlib.layout_engine import PlaceHolderLayoutEngine
    from matplotlib.transforms import Bbox

    engine = figure.get_layout_engine()
    if engine is None or isinstance(engine, PlaceHolderLayoutEngine):
        yield
        return
    _lay_out(figure)
    figure.set_layout_engine("none")
    laid_out = [ax for ax in figure.axes if ax.get_in_layout()]
    try:
        for ax in laid_out:
            ax.set_position(Bbox(np.round(ax.get_position(original=True).get_points(), _DECIMALS)))
        yield
    finally:
        for ax in laid_out:
            ax.set_in_layout(True)  # set_position takes it out
        figure.set_layout_engine(engine)


def _lay_out(figure: Figure) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            figure.draw_without_rendering()
        except UserWarning as error:
            width, height = (size * MM_PER_INCH for size in figure.get_size_inches())
            raise InputError(
                f"the figure, {width:.0f} x {height:.0f} mm, is too small for its labels; make it wider "
                "(--width_mm) or higher"
            ) from error


def figure_of(what: Any) -> Figure:
    """The figure that an Axes, or the first of several, belongs to."""
    from matplotlib.figure import Figure

    if isinstance(what, Mapping):
        what = next(iter(what.values()))
    elif isinstance(what, Sequence):
        what = what[0]
    while not isinstance(what, Figure):  # an Axes, or a figure inside a figure
        what = what.figure
    return what


def _metadata(form: str, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    text = json.dumps({PROVENANCE_KEY: provenance}) if provenance is not None else None
    if form == "png":
        return {"Software": PROVENANCE_KEY, **({"Description": text} if text else {})}
    if form == "svg":
        return {"Creator": PROVENANCE_KEY, "Date": None, **({"Description": text} if text else {})}
    dates = {"CreationDate": None, "ModDate": None}
    return {"Creator": PROVENANCE_KEY, **dates, **({"Subject": text} if text else {})}
