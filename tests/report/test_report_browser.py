"""The page in a real browser: Chromium, driven by Playwright, without a network.

What was looked at, in screenshots of the report of the example (`example/README.md`: ISM of FOXA2 and
DNase with draws, its MR, and the VCF) in light, dark, a window 420 px wide, and printed to PDF:

- the headings tell what is below them, and the tiles and the warnings are the first that one sees;
- numbers stand under each other, right-aligned, with as many digits as carry something; the first
  columns, the effect, its sd and z fit a window of 1280 px;
- nothing overlaps or is cut: on the narrow window tables scroll in their own frame, the page does not;
- in the dark, text and lines stand out, and figures stand on white cards with all their colours;
- in print there are no buttons and no navigation, no table or figure is cut, the record is unfolded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_visit import Visit
from report_world import IMG, SCRIPT

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Visit]:
    with Visit(browser, report) as visit:
        yield visit
        assert visit.complaints == []


def test_it_loads_without_complaint_and_asks_for_nothing(visit: Visit, report: Path) -> None:
    asked = [url for url in visit.requests if not url.startswith("data:")]
    assert asked == [report.as_uri()]
    broken = "images => images.filter(i => !i.complete || !i.naturalWidth).length"
    assert visit.page.locator("img").count() > 10
    assert visit.page.locator("img").evaluate_all(broken) == 0
    assert visit.status() == "60 of 60 rows shown"


def test_sorting_by_mouse(visit: Visit) -> None:
    button = visit.page.locator("#top-effects").get_by_role("button", name="Effect", exact=True)
    assert visit.sort_of("Effect") == "none"
    button.click()
    assert visit.sort_of("Effect") == "descending"
    values = [float(text) for text in visit.column("Effect")]
    assert len(values) == 60
    assert values == sorted(values, reverse=True)
    button.click()
    assert visit.sort_of("Effect") == "ascending"
    assert [float(text) for text in visit.column("Effect")] == sorted(values)
    visit.page.locator("#top-effects").get_by_role("button", name="Sequence", exact=True).click()
    names = visit.column("Sequence")
    assert names == sorted(names)
    assert len(set(names)) == 3
    assert (visit.sort_of("Effect"), visit.sort_of("Sequence")) == ("none", "ascending")


def test_sorting_by_keyboard(visit: Visit) -> None:
    button = visit.page.locator("#top-effects").get_by_role("button", name="z", exact=True)
    visit.page.locator("#filter-text").focus()
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    visit.page.keyboard.press("Enter")
    z = [float(text) for text in visit.column("z")]
    assert z == sorted(z, reverse=True)
    assert min(z) < 0 < max(z)
    visit.page.keyboard.press("Space")
    assert [float(text) for text in visit.column("z")] == sorted(z)
    visible = "button => getComputedStyle(button).outlineStyle !== 'none'"
    assert button.evaluate(visible)  # where the keyboard is can be seen


def test_filtering_by_words_and_choices(visit: Visit) -> None:
    visit.page.get_by_label("Filter rows").click()
    visit.page.keyboard.type("region1 ")
    shown = visit.column("Sequence")
    assert 0 < len(shown) < 60
    assert set(shown) == {"region1"}
    assert visit.status() == f"{len(shown)} of 60 rows shown"
    visit.page.keyboard.type("dnase")  # a second word narrows it
    assert set(visit.column("Output")) == {"DNase"}
    assert len(visit.column("Output")) < len(shown)
    visit.page.get_by_role("button", name="Show all").click()
    status = visit.page.locator("#effects").get_by_role("status")
    playwright.expect(status).to_have_text("60 of 60 rows shown")
    assert visit.page.get_by_label("Filter rows").input_value() == ""
    visit.page.get_by_label("Output", exact=True).select_option("DNase")
    assert set(visit.column("Output")) == {"DNase"}
    visit.page.locator("#top-effects").get_by_role("button", name="Effect", exact=True).click()
    assert set(visit.column("Output")) == {"DNase"}  # sorting keeps the filter
    assert visit.page.get_by_label("Score", exact=True).count() == 0  # one score is ranked
    visit.page.get_by_label("Filter rows").fill("no such thing")
    assert visit.status() == "0 of 60 rows shown"
    assert visit.column("#") == []


def test_other_tables_sort_too(visit: Visit) -> None:
    by_slope = visit.page.get_by_role("button", name="Slope", exact=True)
    table = visit.page.locator("#mr table").filter(has=by_slope).first
    table.get_by_role("button", name="Slope", exact=True).click()
    place = [text.strip() for text in table.locator("th").all_inner_texts()].index("Slope")
    slopes = [float(text) for text in table.locator(f"td:nth-child({place + 1})").all_inner_texts()]
    assert slopes == sorted(slopes, reverse=True)


def test_html_in_names_stays_text_and_runs_nowhere(browser: Any, bad_report: Path) -> None:
    with Visit(browser, bad_report) as visit:
        visit.page.get_by_label("Output", exact=True).select_option(SCRIPT)
        assert set(visit.column("Output")) == {SCRIPT}
        assert IMG in visit.column("Sequence")
        assert visit.page.locator("h1").inner_text() == IMG
        assert visit.page.title() == IMG
        visit.page.locator("#run summary").click()
        assert IMG in visit.page.locator("#run details pre").inner_text()
        assert visit.page.locator("img:not([src^='data:'])").count() == 0
        assert visit.page.locator("script:not([type])").count() == 1
        assert visit.complaints == []
        assert len([r for r in visit.requests if r[:5] != "data:"]) == 1


LUMINANCE = """
([front, back]) => {
  const light = (selector, property) => {
    const color = getComputedStyle(document.querySelector(selector))[property];
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(front, "color"), light(back, "backgroundColor")].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_in_light_and_dark(scheme: str, browser: Any, report: Path) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 of text (AA); figures stand on white in both."""
    with Visit(browser, report, color_scheme=scheme) as visit:
        pairs = [
            ("td.number", "section"), (".note", "section"), (".lead", "body"), ("caption", "section"),
            ("figcaption", "section"), (".cautions li", ".cautions"), (".cautions a", ".cautions"),
            ("nav a", "body"), (".tile dt", ".tile"), ("summary", "section"),
            ("#filter-text", "#filter-text"),
        ]  # fmt: skip
        for pair in pairs:
            assert visit.page.evaluate(LUMINANCE, list(pair)) >= 4.5, pair
        ground = "element => getComputedStyle(element).backgroundColor"
        assert visit.page.locator("figure img").first.evaluate(ground) == "rgb(255, 255, 255)"
        page = visit.page.locator("body").evaluate(ground)
        assert (max(map(int, page[4:-1].split(","))) < 60) == (scheme == "dark")


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser: Any, report: Path) -> None:
    with Visit(browser, report, viewport={"width": 420, "height": 800}) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420
        frame = visit.page.locator(".scroll", has=visit.page.locator("#top-effects"))
        assert frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
        assert frame.get_attribute("tabindex") == "0"  # so that the keyboard can scroll it


def test_without_script_all_rows_are_there(browser: Any, report: Path) -> None:
    with Visit(browser, report, java_script_enabled=False) as visit:
        assert visit.page.locator("#top-effects tbody tr").count() == 60
        assert visit.page.locator("form").is_hidden()
        assert visit.page.locator("#top-effects th").first.inner_text() == "#"


def test_in_print_nothing_is_folded_or_only_for_the_screen(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        assert visit.page.pdf()[:5] == b"%PDF-"
        visit.page.emulate_media(media="print")
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert visit.page.locator("nav").is_hidden()
        assert visit.page.locator("form").is_hidden()
        assert visit.page.locator("#run details").get_attribute("open") is not None
        visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert visit.page.locator("#run details").get_attribute("open") is None
