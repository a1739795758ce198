"""The page of docs/how_to/tracks.md in Chromium: igv.js reads our files, without any other network.

What was looked at, in screenshots of this page with the tracks of the example (`docs/images/browser`):
bars stand on their bases; effects above and below 0 have two colours; the axis of the sd begins at 0;
an allele has the colour of its effect and its name, from the bigBed and from the BED alike.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from doc_blocks import blocks
from paths import ROOT
from track_world import OUTPUTS, SIZES, TRACKS, bigwigs, make_genome, text_lines
from variant_world import tiny_net, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.sequence.genome import Genome

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BUNDLED = ROOT / "kipoi_mcdropout" / "reports" / "static" / "igv.min.js"
ADDRESS = "http://tracks.test/"  # no host: the test answers its requests
START, END = 95, 125  # on chr2: window d, and a variant in it
FEATURES = """
async ([name, contig, start, end]) => {
    const browser = await window.loaded
    const [track] = browser.findTracks(t => t.name === name)
    const features = await track.getFeatures(contig, start, end, 1)
    return features.map(f => [f.start, f.end, f.value ?? f.name, f.color])
}"""


def serve(route: Any, folder: Path, others: list[str]) -> None:
    """Answer a request with the file, or the part of it that is asked for; refuse other hosts."""
    request = route.request
    path = folder / (request.url.removeprefix(ADDRESS) or "index.html")
    if not request.url.startswith(ADDRESS):
        others.append(request.url)
        route.abort()
    elif not path.is_file():
        route.fulfill(status=404)
    else:
        data = path.read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        first, last = 0, len(data) - 1
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if asked else {}
        route.fulfill(status=206 if asked else 200, headers=headers, body=data[first : last + 1])


@pytest.fixture(scope="module")
def folder(effects: mcd.Effects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with all that it needs, of the small genome."""
    igv = Path(os.environ.get("KIPOI_MCDROPOUT_IGV", BUNDLED))
    if not igv.is_file():
        pytest.skip("no igv.min.js: set KIPOI_MCDROPOUT_IGV to that of the npm package igv")
    folder = tmp_path_factory.mktemp("igv")
    shutil.copy(igv, folder / "igv.min.js")
    (page,) = (b for b in blocks(ROOT / "docs" / "how_to" / "tracks.md") if b.language == "html")
    (folder / "index.html").write_text(
        page.text.replace("chr1:44,390-44,490", f"chr2:{START + 1}-{END}")
    )
    fasta = make_genome(folder)
    pysam.faidx(str(fasta))
    (folder / "tracks").mkdir()
    mcd.write_tracks(effects, folder / "tracks" / "ism", outputs="FOXA2")
    with Genome(fasta) as genome:
        ref = genome.bases("chr2", 109, 110)
    vcf = write_vcf(folder / "in.vcf", [f"chr2 110 rs1 {ref} {'A' if ref != 'A' else 'C'} . . ."], SIZES)
    alleles = mcd.score_variants(mcd.Model(tiny_net(), outputs=OUTPUTS), vcf, fasta, n_draws=4)
    mcd.write_tracks(alleles, folder / "tracks" / "variants", outputs="FOXA2")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Any]:
    program = next((p for p in map(shutil.which, BROWSERS) if p), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = driver.chromium.launch(executable_path=program, args=arguments)
        page = chromium.new_page(viewport={"width": 1280, "height": 640})
        page.others, page.errors = [], []
        page.route("**/*", lambda route: serve(route, folder, page.others))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("dialog", lambda dialog: page.errors.append(dialog.message) or dialog.dismiss())
        page.goto(ADDRESS)
        yield page
        chromium.close()


@pytest.mark.parametrize("track", TRACKS)
def test_igv_reads_the_numbers_of_the_bigwig(page: Any, folder: Path, track: str) -> None:
    found = page.evaluate(FEATURES, [f"FOXA2 {track}", "chr2", START, END])
    with bigwigs.open(str(folder / "tracks" / f"ism.FOXA2.{track}.bw")) as file:
        expected = file.intervals("chr2", START, END)
    assert [(start, end) for start, end, *_ in found] == [(start, end) for start, end, _ in expected]
    assert len(found) == 21
    np.testing.assert_allclose([f[2] for f in found], [e[2] for e in expected], rtol=1e-6)


def test_igv_reads_the_allele_with_its_colour(page: Any, folder: Path) -> None:
    (found,) = page.evaluate(FEATURES, ["FOXA2 variants", "chr2", START, END])
    (line,) = text_lines(folder / "tracks" / "variants.FOXA2.variants.bed.gz")
    assert found == [109, 110, line[3], f"rgb({line[8]})"]
    assert line[8] in ("213,94,0", "0,114,178")  # the only one, so its colour is full


def test_the_page_shows_them_without_complaint(page: Any) -> None:
    assert page.errors == []
    assert page.others == []
    names = page.evaluate("async () => (await window.loaded).findTracks(t => t.name).map(t => t.name)")
    assert {f"FOXA2 {track}" for track in (*TRACKS, "variants")} <= set(names)
    # Bars of the effect in the two colours that the page asks for.
    assert set(page.evaluate(COLOURS)) >= {"213,94,0", "0,114,178"}


COLOURS = """
async () => {
    await window.loaded
    const found = new Set()
    const canvases = []
    const look = root => root.querySelectorAll("*").forEach(element => {
        if (element.tagName === "CANVAS") canvases.push(element)
        if (element.shadowRoot) look(element.shadowRoot)
    })
    for (let attempt = 0; attempt < 100 && found.size < 2; attempt++) {
        look(document)
        for (const canvas of canvases.splice(0)) {
            if (!canvas.width || !canvas.height) continue
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
            for (let i = 0; i < data.length; i += 4) {
                const color = `${data[i]},${data[i + 1]},${data[i + 2]}`
                if (data[i + 3] === 255 && ["213,94,0", "0,114,178"].includes(color)) found.add(color)
            }
        }
        await new Promise(done => requestAnimationFrame(done))
    }
    return [...found]
}"""
