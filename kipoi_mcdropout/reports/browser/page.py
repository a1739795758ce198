"""What of the browser goes into the page: the tracks as JSON, and igv.js, packed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from kipoi_mcdropout.plots.style import BASES
from kipoi_mcdropout.reports.browser.facts import BrowserFacts
from kipoi_mcdropout.reports.browser.regions import FLANK_BP

VERSION = "3.8.10"  # of static/igv.min.js
# igv.js writes names into its menus as HTML; letters that look alike are no HTML.
_NO_MARKUP = str.maketrans({"<": "\u2039", ">": "\u203a", "&": "\uff06"})


@cache
def igv_parts() -> dict[str, str]:
    """igv.js as it stands in a page, the same each time.

    `packed` is base64 of gzip, `code_hash` base64 of the SHA-256 of the code for the page's policy, and
    `licence` the text that must go with it.
    """
    folder = resources.files("kipoi_mcdropout.reports") / "static"
    # Its last line names a file that is not there; a browser's tools would ask for it.
    code = (folder / "igv.min.js").read_bytes().partition(b"\n//# sourceMappingURL")[0]
    return {
        "packed": base64.b64encode(gzip.compress(code, 9, mtime=0)).decode(),
        "code_hash": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "licence": (folder / "igv.LICENSE.txt").read_text("utf-8"),
    }


def browser_data(facts: BrowserFacts) -> str:
    """JSON for the page's script, in which no character begins or ends a tag.

    `fasta` has the sequence of the regions of ISM, with their places; of variants the sequence is not
    known, and there is one N on each contig, since igv.js needs some. The contigs end a little behind
    the last region.
    """
    data = {
        "fasta": _fasta(facts),
        "has_sequence": bool(facts.sequences),
        "colors": {base: color for base, color in BASES.items() if base != "U"},
        "locus": facts.regions[0].locus,
        "tracks": [_plain(track) for track in facts.tracks],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fasta(facts: BrowserFacts) -> str:
    ends: dict[str, int] = {}
    for region in facts.regions:
        ends[region.chrom] = max(ends.get(region.chrom, 0), region.end + FLANK_BP)
    known = facts.sequences or {(chrom, 0): "N" for chrom in ends}
    return "".join(
        f">{chrom}:{start + 1}-{start + len(letters)} @len={ends[chrom]}\n{letters}\n"
        for (chrom, start), letters in known.items()
    )


def _plain(value: Any) -> Any:
    """The value with texts and keys that igv.js cannot take for markup."""
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.translate(_NO_MARKUP) if isinstance(value, str) else value
