"""Plots of results: Python functions that take a table, draw on matplotlib Axes and return them.

Every function draws on the `ax` it is given, or on a figure of its own of a journal's column width,
which is then ``ax.figure``. Nothing goes through pyplot, so no display is needed and no setting is
changed. Functions of several panels return a dict of Axes. matplotlib and logomaker, the extra
`plot`, are loaded when a plot is drawn.

>>> from kipoi_mcdropout import plots
>>> from kipoi_mcdropout.files.read import read_effects
>>> ax = plots.plot_mean_variance(read_effects("out.h5"), output="FOXA2")  # doctest: +SKIP
>>> plots.save_figure(ax, ["fig.png", "fig.pdf"])  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.effects.draws_enough import DrawsEnough, draws_enough
from kipoi_mcdropout.plots.calibration import plot_calibration
from kipoi_mcdropout.plots.convergence import plot_convergence
from kipoi_mcdropout.plots.effects import plot_effects
from kipoi_mcdropout.plots.evaluation import plot_evaluation
from kipoi_mcdropout.plots.ism import plot_ism
from kipoi_mcdropout.plots.mean_variance import plot_mean_variance
from kipoi_mcdropout.plots.members import plot_members
from kipoi_mcdropout.plots.ref_alt_covariance import plot_ref_alt_covariance
from kipoi_mcdropout.plots.save import figure_bytes, save_figure
from kipoi_mcdropout.plots.volcano import plot_volcano

if TYPE_CHECKING:
    from kipoi_mcdropout.plots.mr import (
        plot_mr,
        plot_mr_funnel,
        plot_mr_leave_one_out,
        plot_mr_scatter,
    )

__all__ = [
    "DrawsEnough",
    "draws_enough",
    "figure_bytes",
    "plot_calibration",
    "plot_convergence",
    "plot_effects",
    "plot_evaluation",
    "plot_ism",
    "plot_mean_variance",
    "plot_members",
    "plot_mr",
    "plot_mr_funnel",
    "plot_mr_leave_one_out",
    "plot_mr_scatter",
    "plot_ref_alt_covariance",
    "plot_volcano",
    "save_figure",
]


def __getattr__(name: str) -> Any:
    """Load the figures of Mendelian randomization when they are asked for (PEP 562).

    Their statistics take longer to import than another figure takes to draw.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kipoi_mcdropout.plots import mr

    return getattr(mr, name)
