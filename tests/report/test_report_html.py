"""The structure of the page, what it must not have, and that no text of a user becomes markup."""

from __future__ import annotations

import base64
import configparser
import fnmatch
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import pytest
from paths import ROOT
from report_world import IMG, SCRIPT, Page, effects, record_of, write_parquet

from kipoi_mcdropout.reports import gather, render, write_report


@pytest.fixture(scope="module")
def html(report: Path) -> str:
    return report.read_text("utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_tag_is_closed_and_every_id_is_one(page: Page) -> None:
    assert page.unbalanced == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    targets = [str(a["href"]) for a in page.all("a")]
    assert len(targets) > 5
    assert {t[1:] for t in targets} <= set(ids)
    labels = {a["for"] for a in page.all("label")}
    assert labels == {a["id"] for a in (*page.all("input"), *page.all("select"))}
    named = {name for _, a in page.tags for name in str(a.get("aria-labelledby") or "").split()}
    assert named <= set(ids)


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_tables_can_be_read_without_sight_and_without_script(page: Page) -> None:
    assert len(page.all("table")) == len(page.all("caption")) >= 8
    assert {a.get("scope") for a in page.all("th")} == {"col"}
    rows = [a for a in page.all("tr") if "data-output" in a]
    assert len(rows) == 60
    assert page.all("form")[0].get("hidden", "") is None  # shown by the script
    assert next(a for a in page.all("p") if a.get("role") == "status")["aria-live"] == "polite"
    assert page.all("html")[0]["lang"] == "en"


def test_figures_have_text_in_their_place_and_are_in_the_file(page: Page) -> None:
    images = page.all("img")
    assert len(images) >= 2 * 4 + 2 * 3  # of two outputs, and of two pairs of Mendelian randomization
    for image in images:
        assert len(str(image["alt"])) > 20
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/svg+xml;base64"
        svg = base64.b64decode(data).decode()
        assert "<svg" in svg
        assert "<script" not in svg
    assert len(page.all("figcaption")) == len(images)
    assert "Not drawn" not in page.text


def test_nothing_is_loaded_from_elsewhere(html: str, page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:"))
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", "".join(page.styles))) <= {"d"}
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert "default-src 'none'" in str(policy)
    assert f"script-src 'sha256-{digest}'" in str(policy)  # so that no other script can run
    assert len(page.scripts) == 1


def test_what_was_found_is_on_the_page(page: Page, results: Path, mr_folder: Path) -> None:
    facts = gather([results / "ism.h5", mr_folder], top=60)
    assert facts.effects is not None
    n = facts.effects.n_ranked
    for part in (f"60 of {n:,} effects", "12 draws", "Few draws: 12", "MR-Egger, bootstrap over draws"):
        assert part in page.text
    for pair in facts.mr:
        assert "".join(f"Answer: {pair.advice}".split()) in "".join(page.text.split())
        if pair.shown is None:
            assert "no single number" in page.text
        for code, words in pair.warnings:
            assert code in page.text
            assert "".join(words.split()) in "".join(page.text.split())  # flags are tags of their own
    values = [float(str(a["data-value"])) for a in page.all("td") if "data-value" in a]
    assert float(facts.effects.top["z"].iloc[0]) in values


def test_html_in_names_stays_text(bad_report: Path) -> None:
    html = bad_report.read_text("utf-8")
    page = Page(html)
    assert page.unbalanced == []
    assert len(page.scripts) == 1
    assert "alert" not in page.scripts[0]
    assert {a.get("src", "")[:5] for a in page.all("img")} == {"data:"}  # type: ignore[index]
    assert IMG not in html
    for name in (IMG, SCRIPT):
        assert page.text.count(name) > 3
    attributes = [str(v) for _, a in page.tags for v in a.values()]
    assert SCRIPT in attributes  # the filter's choice of outputs


def test_names_that_are_no_text_at_all_are_written(tmp_path: Path) -> None:
    record = record_of(command=["a\ud800b", "c\x00d"])
    table = effects([0.1, 0.2], [0.1, 0.1], name=["\u202eabc", "def"])  # turns what follows around
    source = write_parquet(tmp_path / "a.parquet", table, record)
    write_report([source], tmp_path / "r.html", figures=False)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "a?b" in text
    assert text.count("\u202e") == text.count("<bdi>\u202eabc</bdi>") == 1


@pytest.mark.parametrize("n_draws", [0, 30])
def test_a_result_without_rows_or_draws_has_a_report(n_draws: int, tmp_path: Path) -> None:
    nan = [float("nan")] * 2
    point = write_parquet(
        tmp_path / "point.parquet",
        effects(nan, nan, 0, effect_point=[0.1, 0.2]),
        record_of(0, sites=[]),
    )
    empty = write_parquet(tmp_path / "empty.parquet", effects([], []), record_of(30))
    page = Page(render(gather([point if n_draws == 0 else empty])))
    assert page.unbalanced == []
    assert ("Point effects only" if n_draws == 0 else "No effects") in page.text
    assert page.all("img") == []


def test_a_run_without_reasons_for_caution_says_so(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", effects([0.1, -0.2], [0.1, 0.1]), record_of())
    assert "These checks found nothing" in Page(render(gather([path]), figures=False)).text


def test_the_same_input_makes_the_same_page(results: Path) -> None:
    paths = [results / "variants.parquet", results / "skipped.tsv"]
    first, second = (render(gather(paths), figures=False) for _ in range(2))
    assert first == second
    assert "rs1" in first


def test_the_wheel_takes_every_template_and_asset() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["kipoi_mcdropout.reports"].split()
    folder = ROOT / "kipoi_mcdropout" / "reports"
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert len(files) > 8
    for file in files:
        name = str(file.relative_to(folder))
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
