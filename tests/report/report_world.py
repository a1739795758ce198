"""Results to report on: made by the real commands on the toy model, and tables made up here."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from toy import Toy, make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.files.table import ParquetTable

IMG = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"
N_DRAWS = 12
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


def write_ism(folder: Path) -> Toy:
    """`ism.h5`, `ism.parquet` and `ism.tsv` of one run of the toy model, with draws."""
    toy = make_toy(folder / "toy")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--model_input", "seq", "--n_draws", str(N_DRAWS), "-s", "diff", "logit", "--keep_draws"]
    interpret_ism("ism", [*words, "-o", *(str(folder / f"ism.{x}") for x in ("h5", "parquet", "tsv"))])
    return toy


def write_mr(folder: Path, result: Path) -> None:
    """`mr.tsv`, `loo.tsv` and `across.tsv` of two outcomes."""
    words = ["mr", str(result), "--exposure", "FOXA2", "--outcome", "DNase", "FOXA1", "--score", "diff"]
    words += ["--top_n", "30", "--n_bootstrap", "30", "-o", str(folder / "mr.tsv")]
    words += ["--leave_one_out", str(folder / "loo.tsv")]
    cli_main("mcdropout", [*words, "--across_sequences", str(folder / "across.tsv")])


def write_variants(folder: Path, toy: Toy) -> None:
    """`variants.parquet` and `skipped.tsv`: 3 alleles scored; a wrong REF, a <DEL>, a * are not."""
    sequence = "".join(toy.fasta.read_text().upper().split("\n")[1:])
    base = {pos: sequence[pos - 1] for pos in (20, 24, 30, 36)}
    other = {pos: next(b for b in "ACGT" if b != ref) for pos, ref in base.items()}
    records = [
        f"chr1 20 rs1 {base[20]} {other[20]} . . .",
        f"chr1 24 <b>rs2</b> {base[24]} {other[24]},<DEL> . . .",
        f"chr1 30 . {other[30]} {base[30]} . . .",
        f"chr1 36 rs4 {base[36]} {other[36]},* . . .",
    ]
    lines = ["##fileformat=VCFv4.2", f"##contig=<ID=chr1,length={len(sequence)}>"]
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO", *(r.replace(" ", "\t") for r in records)]
    (folder / "in.vcf").write_text("\n".join(lines) + "\n")
    words = ["score_variants", str(toy.model), "--source", "dir", "-i", str(folder / "in.vcf")]
    words += ["-f", str(toy.fasta), "-t", str(folder / "variants.parquet"), "--n_draws", str(N_DRAWS)]
    cli_main("mcdropout", [*words, "--skipped", str(folder / "skipped.tsv")])


def poison(path: Path, target: Path) -> None:
    """A copy of an HDF5 result whose names are HTML: of a sequence, an output, the model, a site."""
    target.write_bytes(path.read_bytes())
    with h5py.File(target, "r+") as file:
        file["metadata/ranges/id"][0] = IMG
        file["metadata/ranges/chr"][1] = SCRIPT
        file["output"][1] = SCRIPT
        record = json.loads(file.attrs["provenance"])
        record["model"]["name"] = SCRIPT
        record["sites"][0]["name"] = IMG
        record["command"].append(IMG)
        record["options"]["target"] = [IMG]
        record["files"]["fasta_file"]["path"] = IMG
        file.attrs["provenance"] = json.dumps(record)


def record_of(n_draws: int = 30, **more: Any) -> dict[str, Any]:
    """Provenance such as `ism` records."""
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "versions": {"python": "3.11", "kipoi-mcdropout": "0.1.0", "torch": "2.13.0"},
        "model": {"name": "a/model", "source": "kipoi", "weights_sha256": "0" * 64},
        "files": {"fasta_file": {"path": "genome.fa", "sha256": "1" * 64}},
        "seed": 7,
        "n_draws": n_draws,
        "sites": [{"site": 0, "name": "drop", "kind": "dropout", "p": 0.5, "mask_shape": [1, 6, 24]}],
        "options": {"method": "mcdropout_ism", "scores": ["diff"], "mask_scope": "run"},
        "command": ["kipoi", "mcdropout", "ism", "a model", "-o", "x.h5"],
        **more,
    }


def effects(mean: list[float], sd: list[float], n_draws: int = 30, **columns: Any) -> pd.DataFrame:
    """Rows of effects at consecutive positions of one sequence."""
    n = len(mean)
    m, s = np.array(mean, float), np.array(sd, float)
    table = {
        "sequence": 0, "name": "s0", "chrom": "chr1", "pos": np.arange(1, n + 1), "strand": "+",
        "position": np.arange(n), "ref": "A", "alt": "C", "output": "out", "score": "diff",
        "ref_mean": 0.5, "ref_var": 0.01, "ref_point": 0.5, "alt_mean": 0.5 + m, "alt_var": 0.01,
        "alt_point": 0.5 + m, "ref_alt_cov": 0.01 - s**2 / 2, "effect_mean": m, "effect_sd": s,
        "effect_mcse": s / np.sqrt(n_draws) if n_draws else np.nan, "effect_point": m,
        "prob_positive": 0.5, "n_nonfinite": 0, "n_saturated": 0, "n_draws": n_draws,
    }  # fmt: skip
    return pd.DataFrame({**table, **columns})


def write_parquet(path: Path, table: pd.DataFrame, record: dict[str, Any]) -> Path:
    """A table of effects with its provenance, as the writers make it."""
    writer = ParquetTable(path, record)
    writer.write(pa.Table.from_pandas(table, preserve_index=False))
    writer.close()
    return path


class Page(HTMLParser):
    """Tags with their attributes, texts, and whether every tag that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.data: dict[str, str] = {}  # blocks of data that no browser runs, by id
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        where = self._open[-1] if self._open else ""
        attributes = self.tags[-1][1] if self.tags else {}
        if where == "script" and "type" in attributes:
            name = str(attributes["id"])
            self.data[name] = self.data.get(name, "") + data
            return
        {"script": self.scripts, "style": self.styles}.get(where, self.texts).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every tag of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        """All text, spaces collapsed."""
        return " ".join(" ".join(self.texts).split())
