"""Figures in files: formats, the same bytes each time, provenance, and no global state."""

from __future__ import annotations

import builtins
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from plot_tables import ism_table

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.plots import figure_bytes, plot_ism, plot_mean_variance, save_figure, style

PROVENANCE = {"seed": 3, "model": {"name": 'Ünïcode <&> "model" 模型'}}


def draw() -> Any:
    return plot_mean_variance(ism_table()[0], output="FOXA2")


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_figure_gives_the_same_bytes(form: str, start: bytes) -> None:
    first, second = (figure_bytes(draw(), form, provenance=PROVENANCE) for _ in range(2))
    assert first.startswith(start)
    assert first == second
    assert re.search(rb"20\d\d-\d\d-\d\d|D:20\d\d", first) is None  # no date


def test_panels_and_figures_save_alike() -> None:
    panels = plot_ism(ism_table()[0], output="FOXA2")
    png = figure_bytes(panels, "png", dpi=100)
    assert png == figure_bytes(panels["sd"].figure, "png", dpi=100)
    assert png == figure_bytes(list(panels.values()), "png", dpi=100)
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (round(183 / 25.4 * 100), round(75 / 25.4 * 100 - 0.5))


def test_every_format_carries_the_provenance() -> None:
    expected = {"kipoi_mcdropout": PROVENANCE}
    assert (
        json.loads(_png_texts(figure_bytes(draw(), "png", provenance=PROVENANCE))["Description"])
        == expected
    )
    svg = figure_bytes(draw(), "svg", provenance=PROVENANCE).decode()
    described = re.search(r"<dc:description>(.*?)</dc:description>", svg, re.DOTALL)
    assert described is not None
    import html

    assert json.loads(html.unescape(described[1])) == expected
    pdf = figure_bytes(draw(), "pdf", provenance=PROVENANCE)
    assert b"/Subject" in pdf
    assert b"kipoi_mcdropout" in pdf
    assert "Description" not in _png_texts(figure_bytes(draw(), "png"))


def _png_texts(png: bytes) -> dict[str, str]:
    """The tEXt and iTXt chunks of a PNG."""
    texts, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        if kind == b"tEXt":
            key, value = data.split(b"\0", 1)
            texts[key.decode("latin-1")] = value.decode("latin-1")
        elif kind == b"iTXt":
            key, rest = data.split(b"\0", 1)
            texts[key.decode()] = rest[2:].split(b"\0", 2)[2].decode()
        at += 12 + length
    return texts


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    ax = draw()
    paths = [tmp_path / f"fig.{form}" for form in ("png", "svg", "pdf")]
    save_figure(ax, paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    before = paths[0].read_bytes()
    with pytest.raises(OutputError, match="exists; add --overwrite"):
        save_figure(ax, [tmp_path / "new.svg", paths[0]])
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    save_figure(ax, str(paths[0]), overwrite=True, dpi=72)
    assert paths[0].read_bytes() != before
    with pytest.raises(OutputError, match=r"must end in one of \.png, \.svg, \.pdf"):
        save_figure(ax, tmp_path / "fig.jpg")
    with pytest.raises(OutputError, match="outputs must differ"):
        save_figure(ax, [tmp_path / "b.png", tmp_path / "b.png"])
    with pytest.raises(InputError, match="must be one of png, svg, pdf; got 'tiff'"):
        figure_bytes(ax, "tiff")


def test_a_drawing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ax = draw()

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(ax.figure), "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(ax, tmp_path / "fig.png")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_too_small_for_its_labels_is_refused() -> None:
    ax = draw()
    ax.figure.set_size_inches(0.5, 0.5)
    with pytest.raises(InputError, match=r"13 x 13 mm, is too small for its labels; make it wider"):
        figure_bytes(ax, "png")


def test_no_setting_of_matplotlib_is_changed_and_no_figure_stays_behind() -> None:
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    figure_bytes(plot_ism(ism_table()[0], output="FOXA2"), "svg")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_matplotlib_is_loaded_only_for_drawing() -> None:
    code = (
        "import sys, kipoi_mcdropout.plots, kipoi_mcdropout.cli.commands.plot\n"
        "print('matplotlib' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("package", ["matplotlib", "logomaker"])
def test_a_missing_package_is_named_with_the_remedy(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(f"No module named {package!r}")
        return real(name, *args, **kwargs)

    def find(name: str, *args: Any) -> Any:
        return without(name)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("importlib.import_module", find)
    with pytest.raises(InputError, match=rf"plots need {package}.*pip install {package}"):
        plot_ism(ism_table()[0], output="FOXA2")


def test_names_are_shown_as_they_are_but_never_read_as_formulas() -> None:
    assert style.plain("a$b$c") == r"a\$b\$c"
    assert style.plain("two\nlines\there") == "two lines here"
    assert style.plain("_hidden").strip() == "_hidden"
    assert style.plain("bell\x07") == "bell?"
    long = style.plain("wgEncodeAwgDnaseUwdukeGm12878UniPk.narrowPeak")
    assert len(long) == style.LONGEST_NAME
    assert long.startswith("wgEncode")
    assert long.endswith("owPeak")
    table = ism_table()[0].replace("FOXA2", "$x^2_$ <b>&amp;")
    ax = plot_mean_variance(table, output="$x^2_$ <b>&amp;")
    svg = figure_bytes(ax, "svg").decode()
    assert "<b>" not in svg
