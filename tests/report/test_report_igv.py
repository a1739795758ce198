"""The genome browser of the report in Chromium, without a network.

What was looked at, in screenshots of the reports of the example (ISM and VCF, with genes) in light, dark
and a window 420 px wide: letters, bars, points and genes stand where they should, words of igv.js are
dark on its white ground in both themes, its pop-ups and menus are not cut, and the page is not wider.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_visit import Visit
from report_world import IMG

from kipoi_mcdropout.reports import write_report

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
DRAWN = "[data-browser=ready]"
IGV = "document.querySelector('[data-browser]').genomeBrowser"


@pytest.fixture(scope="module")
def ism_report(results: Path) -> Path:
    genes = results / "genes.bed"
    genes.write_text(f"chr1\t26\t30\tNEAR\t0\t+\nchr1\t50\t60\t{IMG.replace(' ', '_')}\t0\t-\n")
    path = results / "browser.html"
    write_report([results / "ism.h5"], path, top=60, figures=False, annotation=genes)
    return path


@pytest.fixture(scope="module")
def variants_report(results: Path) -> Path:
    path = results / "variants.html"
    write_report([results / "variants.parquet", results / "skipped.tsv"], path, figures=False)
    return path


@pytest.fixture(scope="module")
def drawn(browser: Any, ism_report: Path) -> Iterator[Visit]:
    with Visit(browser, ism_report, offline=True) as visit:
        yield visit


def start(visit: Visit) -> None:
    visit.page.locator("#browser").scroll_into_view_if_needed()
    visit.page.wait_for_selector(DRAWN, timeout=60_000)


def until(visit: Visit, condition: str) -> None:
    """Wait for a condition, frame by frame; the page's policy forbids what playwright does for it."""
    code = (
        f"async () => {{ for (let i = 0; i < 3000; i++) {{ if ({condition}) return true; "
        "await new Promise(requestAnimationFrame); } return false; }"
    )
    assert visit.page.evaluate(code), condition


def values(visit: Visit, track: str, locus: tuple[int, int]) -> list[dict[str, Any]]:
    """Features of a track as igv.js has them."""
    code = (
        f"async ([name, start, end]) => (await {IGV}.tracks.find((t) => t.name === name)"
        ".getFeatures('chr1', start, end, 1)).map(({ start, end, value, name }) => "
        "({ start, end, value, name }))"
    )
    found: list[dict[str, Any]] = visit.page.evaluate(code, [track, *locus])
    return found


def test_it_starts_when_it_comes_into_view_and_asks_for_nothing(drawn: Visit, ism_report: Path) -> None:
    assert drawn.page.evaluate("typeof igv") == "undefined"  # until then it costs nothing
    start(drawn)
    assert drawn.page.evaluate("igv.version()") == "3.8.10"
    names = drawn.page.evaluate(f"{IGV}.tracks.map((track) => track.name).filter(Boolean)")
    first = {"Genes", "Top effects"} | {f"FOXA2: {n}" for n in ("importance", "strongest effect", "sd")}
    assert first <= set(names)
    painted = (
        "() => Array.from(document.querySelector('[data-browser]').shadowRoot"
        ".querySelectorAll('canvas'), (c) => c.width && new Set(new Uint32Array("
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)"
        ".filter((colors) => colors > 1).length"
    )
    until(drawn, f"({painted})() >= {len(names)}")
    drawn.page.locator("[data-browser] .igv-search-input").fill("NOSUCHGENE")
    drawn.page.keyboard.press("Enter")
    drawn.page.get_by_text("Unrecognized locus").wait_for()
    drawn.page.locator("[data-browser]").get_by_text("OK", exact=True).first.click()
    assert [url for url in drawn.requests if not url.startswith(("data:", "blob:"))] == [
        ism_report.as_uri()
    ]
    assert drawn.complaints == []


def test_letters_and_effects_are_at_their_places(drawn: Visit, results: Path) -> None:
    """igv.js has the bases of the FASTA, and each effect at its position less one."""
    start(drawn)
    text = (results / "toy" / "genome.fa").read_text().split("\n")[1].upper()
    sequence = drawn.page.evaluate(f"{IGV}.genome.getSequence('chr1', 24, 48)")
    assert sequence == text[24:48]
    cells = drawn.page.locator("#top-effects tbody tr").first.locator("td").all_inner_texts()
    heads = drawn.page.locator("#top-effects th").all_inner_texts()
    row = dict(zip(heads, cells, strict=True))
    pos = int(row["Position"].split(":")[1])
    (found,) = [
        one
        for one in values(drawn, "Top effects", (pos - 1, pos))
        if one["start"] == pos - 1 and one["name"] == row["Change"].replace(">", "\u2192")
    ]
    assert found["end"] == pos
    strongest = values(drawn, f"{row['Output']}: strongest effect", (pos - 1, pos))
    assert [v["start"] for v in strongest if v["start"] == pos - 1] == [pos - 1]


def test_a_position_of_the_table_and_a_region_can_be_shown(drawn: Visit) -> None:
    page = drawn.page
    button = page.locator("#top-effects button.place").nth(5)
    pos = int(button.inner_text().split(":")[1])
    button.focus()
    page.keyboard.press("Enter")
    locus = f"chr1:{max(1, pos - 30)}-{pos + 30}"
    status = page.locator("#browser").get_by_role("status")
    status.get_by_text(f"Shown: {locus}", exact=True).wait_for()
    shown = page.evaluate(f"{IGV}.currentLoci()")
    assert shown.startswith(f"chr1:{max(1, pos - 30)}-")
    choice = page.get_by_label("Region", exact=True)
    assert choice.input_value() == page.locator("#top-effects tr[data-region]").nth(5).get_attribute(
        "data-region"
    )
    choice.select_option(index=2)
    status.get_by_text(f"Shown: {choice.input_value()}", exact=True).wait_for()
    assert page.locator("#browser-regions button.place").count() == 3
    assert drawn.complaints == []


def test_a_gene_is_found_by_its_name_and_html_in_names_is_none(drawn: Visit) -> None:
    start(drawn)
    box = drawn.page.locator("[data-browser] .igv-search-input")
    box.fill("near")
    drawn.page.keyboard.press("Enter")
    until(
        drawn,
        "document.querySelector('[data-browser]').shadowRoot.querySelector('.igv-search-input')"
        ".value.startsWith('chr1:')",
    )
    (gene,) = values(drawn, "Genes", (26, 30))
    assert (gene["start"], gene["end"], gene["name"]) == (26, 30, "NEAR")
    (other,) = values(drawn, "Genes", (50, 60))
    assert other["name"].startswith("\u2039img_src=x")
    assert drawn.page.locator("[data-browser] img:not([src^='data:'])").count() == 0
    assert drawn.complaints == []


def test_images_can_be_saved(drawn: Visit) -> None:
    start(drawn)
    for call, begins in (("saveSVGtoFile('a.svg')", b"<svg"), ("savePNGtoFile('a.png')", b"\x89PNG")):
        with drawn.page.expect_download() as download:
            drawn.page.evaluate(f"{IGV}.{call}")
        assert Path(download.value.path()).read_bytes().startswith(begins)
    assert drawn.complaints == []


def test_variants_in_a_dark_and_narrow_window(browser: Any, variants_report: Path) -> None:
    """Words of igv.js are black on white here too; the points are where the VCF says."""
    small = {"width": 420, "height": 800}
    with Visit(browser, variants_report, color_scheme="dark", viewport=small, offline=True) as visit:
        start(visit)
        label = "element => getComputedStyle(element).color"
        words = visit.page.locator("[data-browser] .igv-track-label").first
        assert words.evaluate(label) == "rgb(0, 0, 0)"
        ground = "element => getComputedStyle(element).backgroundColor"
        assert visit.page.locator("[data-browser]").evaluate(ground) == "rgb(255, 255, 255)"
        points = values(visit, "FOXA2: effect", (0, 72))
        assert [(p["start"], p["end"]) for p in points] == [(19, 20), (23, 24), (35, 36)]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420
        assert visit.complaints == []


def test_a_browser_that_cannot_unpack_says_so(browser: Any, variants_report: Path) -> None:
    with Visit(browser, variants_report) as visit:
        visit.page.evaluate("delete globalThis.DecompressionStream")
        visit.page.locator("#browser").scroll_into_view_if_needed()
        status = visit.page.locator("#browser").get_by_role("status")
        status.get_by_text("cannot be drawn here").wait_for()
        assert "The table below has the regions" in status.inner_text()
        assert visit.page.locator("#browser-regions tbody tr").count() == 1
