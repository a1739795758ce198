"""Genome browser and genes of a report, as they stand in the file: places, tracks, words, size."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from report_world import SCRIPT, Page, effects, record_of, write_parquet

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.reports import gather, render, write_report
from kipoi_mcdropout.reports.browser.page import VERSION

STATIC = ROOT / "kipoi_mcdropout" / "reports" / "static"
VARIANTS = {"options": {"info_prefix": "MCD", "scores": ["diff"], "length": 100}}


def page_of(path: Path, **options: Any) -> Page:
    return Page(render(gather([path], **options), figures=False))


def data_of(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.data["browser-data"])
    return found


def track(data: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in data["tracks"] if one["name"] == name]
    assert isinstance(found, dict)
    return found


def window(start: int, means: list[list[float]], **columns: Any) -> pd.DataFrame:
    """All substitutions of a window of the sequence ACGTACGT...: `means` by position, then by base."""
    n, letters = len(means), "ACGT"
    table = effects(np.ravel(means).tolist(), [0.1] * 3 * n)
    ref = [letters[i % 4] for i in range(n) for _ in range(3)]
    alt = [base for i in range(n) for base in letters if base != letters[i % 4]]
    place = np.repeat(np.arange(n), 3)
    return table.assign(**{"pos": start + place, "position": place, "ref": ref, "alt": alt, **columns})


def variants(pos: list[int], ref: list[str], mean: list[float], **columns: Any) -> pd.DataFrame:
    table = effects(mean, [0.1] * len(pos)).drop(columns=["sequence", "name", "strand", "position"])
    return table.assign(pos=pos, ref=ref, alt="G", id="rs1", kind="snv", flags="", **columns)


def test_places_are_those_of_the_genome(tmp_path: Path) -> None:
    """Position 1001 of a VCF is [1000, 1001) for igv.js, and the locus chr1:1001-1004."""
    table = window(1001, [[-0.3, -0.6, 0.0], [0.1, 0.2, 0.3], [0.9, 0.0, 0.0], [0.0, 0.0, 0.1]])
    page = page_of(write_parquet(tmp_path / "a.parquet", table, record_of()))
    data = data_of(page)
    assert data["locus"] == "chr1:1001-1004"
    assert data["fasta"].split("\n")[:2] == [">chr1:1001-1004 @len=6004", "ACGT"]
    (importance,) = track(data, "out: importance")["runs"]
    assert (importance["chr"], importance["start"]) == ("chr1", 1000)
    assert importance["values"] == pytest.approx([0.3, -0.2, -0.3, -0.0333], abs=1e-4)
    (strongest,) = track(data, "out: strongest effect")["runs"]
    assert strongest["values"] == pytest.approx([-0.6, 0.3, 0.9, 0.1], abs=1e-3)
    (first, *_) = track(data, "Top effects")["features"]
    assert (first["start"], first["end"], first["name"]) == (1002, 1003, "G \u2192 A")
    assert (first["effect"], first["sd"], first["z"], first["rank"]) == (0.9, 0.1, 9.0, 1)
    (row, *_) = [a for a in page.all("tr") if "data-locus" in a]
    assert row["data-locus"] == "chr1:973-1033"
    assert row["data-region"] == data["locus"]


def test_the_other_strand_is_turned_to_the_forward_one(tmp_path: Path) -> None:
    table = window(11, [[0.1, 0.2, 0.3], [0.9, 0.2, 0.1]], strand="-")
    table["pos"] = 12 - table["position"]  # position 0 of the window, an A, is a T at 12
    data = data_of(page_of(write_parquet(tmp_path / "a.parquet", table, record_of())))
    assert data["fasta"].split("\n")[:2] == [">chr1:11-12 @len=5012", "GT"]
    assert track(data, "Top effects")["features"][0]["name"] == "G \u2192 T"  # C > A
    assert track(data, "out: strongest effect")["runs"][0]["values"] == [0.9, 0.3]


def test_where_windows_overlap_the_middle_counts(tmp_path: Path) -> None:
    first = window(1, [[0.1, 0.1, 0.1]] * 8)
    second = window(5, [[0.2, 0.2, 0.2]] * 8, sequence=1, name="s1")
    table = pd.concat([first, second], ignore_index=True)
    data = data_of(page_of(write_parquet(tmp_path / "a.parquet", table, record_of())))
    (run,) = track(data, "out: strongest effect")["runs"]
    # Middles at 4.5 and 8.5: 5 and 6 are nearer to the first, 7 and 8 to the second.
    assert run["values"] == [0.1] * 6 + [0.2] * 6


def test_a_position_without_a_number_is_left_out(tmp_path: Path) -> None:
    table = window(1, [[0.1, 0.2, 0.3], [0.1, float("nan"), 0.3], [0.4, 0.0, 0.0]])
    data = data_of(page_of(write_parquet(tmp_path / "a.parquet", table, record_of())))
    (run,) = track(data, "out: importance")["runs"]
    assert run["values"][1] is None
    assert data["fasta"].split("\n")[1] == "ACG"


def test_scores_without_sign_and_results_without_draws(tmp_path: Path) -> None:
    table = window(1, [[0.1, 0.2, 0.3]] * 3)
    unsigned = write_parquet(tmp_path / "a.parquet", table.assign(score="l2"), record_of())
    assert [one["name"] for one in data_of(page_of(unsigned))["tracks"]] == [
        "Top effects", "out: strongest effect", "out: sd",
    ]  # fmt: skip
    no_draws = table.assign(n_draws=0, effect_mean=np.nan, effect_sd=np.nan, effect_mcse=np.nan)
    point = write_parquet(tmp_path / "b.parquet", no_draws, record_of(0, sites=[]))
    data = data_of(page_of(point))
    assert [one["name"] for one in data["tracks"]] == [
        "Top effects", "out: importance", "out: strongest effect",
    ]  # fmt: skip
    assert set(track(data, "Top effects")["features"][0]) >= {"effect", "rank"}
    predictions = write_parquet(tmp_path / "c.parquet", table.assign(score="alt"), record_of())
    assert "no genome browser here: no score of the result is an effect" in page_of(predictions).text


def test_variants_are_points_and_features(tmp_path: Path) -> None:
    table = variants([20_001, 20_003, 90_000], ["A", "CTT", "C"], [0.5, -0.1, 0.3])
    page = page_of(write_parquet(tmp_path / "v.parquet", table, record_of(**VARIANTS)))
    data = data_of(page)
    assert data["locus"] == "chr1:15001-25001"
    assert not data["has_sequence"]
    (points,) = track(data, "out: effect")["runs"]
    assert points["starts"] == [20_000, 20_002, 89_999]
    assert points["ends"] == [20_001, 20_005, 90_000]
    assert points["values"] == [0.5, -0.1, 0.3]
    assert track(data, "out: sd")["runs"][0]["values"] == [0.1] * 3
    (red, pale, _) = track(data, "Variants")["features"]
    assert (red["name"], red["id"], red["out: effect"]) == ("A \u2192 G", "rs1", 0.5)
    assert red["color"] == "rgba(213,94,0,1)"
    assert pale["color"] == "rgba(0,114,178,0.4)"
    assert len(page.all("option")) == 2  # the first two lie in one region


def test_of_very_many_alleles_the_strongest_are_kept(tmp_path: Path) -> None:
    n = 2_100
    size = np.linspace(0.1, 0.2, n)
    table = variants(list(range(10_001, 10_001 + n)), ["A"] * n, size.tolist())
    page = page_of(write_parquet(tmp_path / "v.parquet", table, record_of(**VARIANTS)))
    (points,) = track(data_of(page), "out: effect")["runs"]
    assert points["starts"] == list(range(10_100, 10_000 + n))
    assert "100 weaker effects are left out" in page.text


def test_without_places_there_is_no_browser_and_that_is_said(tmp_path: Path) -> None:
    table = window(1, [[0.1, 0.2, 0.3]] * 3, chrom=None, pos=None, strand=None)
    path = write_parquet(tmp_path / "a.parquet", table, record_of())
    page = page_of(path)
    assert "no genome browser here: the result has no positions on a genome" in page.text
    assert page.data == {}
    assert "igv" not in page.scripts[0]
    genes = tmp_path / "g.bed"
    genes.write_text("chr1\t0\t100\tA\n")
    with pytest.raises(InputError, match="annotation needs effects with positions on a genome"):
        gather([path], annotation=genes)


def test_regions_can_be_fewer_or_none(tmp_path: Path) -> None:
    parts = [window(1 + 100 * i, [[0.1 * (i + 1)] * 3] * 4, sequence=i, name=f"s{i}") for i in range(3)]
    path = write_parquet(tmp_path / "a.parquet", pd.concat(parts, ignore_index=True), record_of())
    page = page_of(path, n_regions=2)
    assert [a["value"] for a in page.all("option")] == ["chr1:201-204", "chr1:101-104"]
    assert "The 2 regions" in page.text
    none = page_of(path, n_regions=0)
    assert none.data == {}
    assert "Genome browser" not in none.text
    with pytest.raises(InputError, match="at least 0; got -1"):
        gather([path], n_regions=-1)


def test_a_long_window_is_shown_around_its_strongest_effect(tmp_path: Path) -> None:
    means = np.full((12_000, 3), 0.01)
    means[9_000] = 0.5
    path = write_parquet(tmp_path / "a.parquet", window(1, means.tolist()), record_of())
    assert data_of(page_of(path))["locus"] == "chr1:4001-12000"


def test_contigs_that_igv_cannot_be_asked_for_are_left_out(tmp_path: Path) -> None:
    parts = [
        window(1, [[0.9] * 3] * 4, chrom="HLA:01"),
        window(1, [[0.1] * 3] * 4, chrom=SCRIPT, sequence=1),
        window(1, [[0.05] * 3] * 4, chrom="chr1", sequence=2),
    ]
    path = write_parquet(tmp_path / "a.parquet", pd.concat(parts, ignore_index=True), record_of())
    page = page_of(path)
    assert [a["value"] for a in page.all("option")] == ["chr1:1-4"]
    assert {a.get("data-locus") for a in page.all("tr") if "data-output" in a} > {None}


def genes_file(folder: Path, contig: str = "chr1") -> Path:
    path = folder / "genes.bed"
    path.write_text(f"{contig}\t1001\t1003\tHNF1A\t0\t+\n{contig}\t4000\t4100\t<b>\t0\t-\n")
    return path


def test_genes_stand_in_the_tables_and_in_the_browser(tmp_path: Path) -> None:
    table = window(1001, [[0.3, 0.6, 0.1], [0.1, 0.2, 0.3], [0.9, 0.0, 0.0], [0.0, 0.0, 0.1]])
    path = write_parquet(tmp_path / "a.parquet", table, record_of())
    page = page_of(path, annotation=genes_file(tmp_path, "1"))
    assert page.text.count("HNF1A (1 bp)") == 4  # at 1001 three, at 1004 one
    assert "genes.bed , which calls chr1 1" in page.text
    heads = [t for t in page.texts if t.strip() == "Gene"]
    assert len(heads) == 2  # of the top effects, and of the regions
    (gene, other) = track(data_of(page), "Genes")["features"]
    assert (gene["chr"], gene["start"], gene["end"], gene["strand"]) == ("chr1", 1001, 1003, "+")
    assert other["name"] == "\u2039b\u203a"  # igv.js would take it for markup
    assert page.unbalanced == []


def test_an_annotation_of_other_contigs_is_a_reason_for_caution(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", window(1, [[0.3] * 3] * 4), record_of())
    facts = gather([path], annotation=genes_file(tmp_path, "NC_000001.11"))
    assert [c.title for c in facts.cautions] == ["The annotation has no gene on 1 contig"]
    assert "on chr1, where top effects lie; it has genes on NC_000001.11" in facts.cautions[0].text


def test_an_annotation_that_cannot_be_used_is_refused_before_the_work(
    tmp_path: Path, mr_folder: Path
) -> None:
    out = tmp_path / "r.html"
    for name, said in (("genes.xlsx", "must be GFF3"), ("none.bed", "there is no file")):
        with pytest.raises(InputError, match=said):
            write_report([tmp_path / "no.h5"], out, annotation=tmp_path / name, figures=False)
    genes = genes_file(tmp_path)
    with pytest.raises(InputError, match="gives genes to effects, and there are none"):
        write_report([mr_folder], out, annotation=genes, figures=False)
    assert not out.exists()


def test_igv_is_whole_in_the_file_which_stays_small(report: Path, results: Path) -> None:
    """igv.js unpacks to what npm has, the policy lets it and our script run, and it costs 0.6 MB."""
    html = report.read_text("utf-8")
    page = Page(html)
    code = gzip.decompress(base64.b64decode(page.data["browser-code"]))
    shipped = (STATIC / "igv.min.js").read_bytes()
    assert shipped.startswith(code)
    assert shipped[len(code) :] == b"\n//# sourceMappingURL=igv.min.js.map\n"
    notice = (STATIC / "igv.NOTICE.txt").read_text()
    assert hashlib.sha256(shipped).hexdigest() in notice
    assert f"version {VERSION}" in notice
    assert f'"{VERSION}"' in code.decode()
    policy = next(str(a["content"]) for a in page.all("meta") if a.get("http-equiv"))
    assert base64.b64encode(hashlib.sha256(code).digest()).decode() in policy
    assert "connect-src" not in policy  # so that default-src 'none' holds for it
    assert "Permission is hereby granted, free of charge" in page.text
    small = results / "small.html"
    write_report([results / "ism.h5"], small, top=1, figures=False)
    assert 0.5e6 < small.stat().st_size < 1e6
