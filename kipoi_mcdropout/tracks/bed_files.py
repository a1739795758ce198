"""Writes alleles as BED (compressed with bgzip) and bigBed: BED9 and five columns of our own."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pandas as pd
import pysam

from kipoi_mcdropout.errors import OutputError
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.tracks.track_files import require

BED_COLUMNS = {
    "chrom": ("string", "contig"),
    "start": ("uint", "start, from 0"),
    "end": ("uint", "end"),
    "name": ("string", "ID of the VCF or place, and alleles"),
    "score": ("uint", "0 to 1000: share of the full colour"),
    "strand": ("char[1]", "none"),
    "thickStart": ("uint", "start"),
    "thickEnd": ("uint", "end"),
    "itemRgb": ("uint", "colour by effect"),
    "effect": ("float", "effect of the allele"),
    "sd": ("float", "sd of the effect over the draws"),
    "z": ("float", "effect divided by its sd"),
    "ref": ("lstring", "reference allele"),
    "alt": ("lstring", "alternative allele"),
}
_BED9 = 9
_UCSC_NAMES = {"start": "chromStart", "end": "chromEnd"}
_N_STANDARD_COLUMNS = 34  # place in the header of a bigBed: how many of its columns are those of BED


def write_bed(path: Path, table: pd.DataFrame, record: dict[str, Any]) -> None:
    """Write rows of `BED_COLUMNS`; the provenance is in the first line, the columns in the second."""
    with pysam.BGZFile(str(path), "wb") as file:  # type: ignore[call-arg]
        file.write(f"#kipoi_mcdropout={json.dumps(record)}\n#{chr(9).join(table.columns)}\n".encode())
        for line in _lines(table):
            file.write(f"{line}\n".encode())


def write_bigbed(
    path: Path, sizes: dict[str, int], table: pd.DataFrame, output: str, score: str
) -> None:
    """Write rows of `BED_COLUMNS`, sorted by contig and start, as a bigBed.

    Raises
    ------
    OutputError
        If not all rows are in the file afterwards.
    """
    pybigtools = require("pybigtools")
    entries = []
    for line in _lines(table):
        contig, start, end, rest = line.split("\t", 3)
        entries.append((contig, int(start), int(end), rest))
    with scratch_folder() as folder:  # pybigtools knows a bigBed by its name alone
        made = folder / "alleles.bb"
        pybigtools.open(str(made), "w").write(sizes, entries, autosql=_autosql(output, score))
        _check(pybigtools, made, len(entries))
        shutil.copyfile(made, path)
    # pybigtools counts all columns as those of BED, and a browser would then take them for BED14.
    with path.open("r+b") as raw:
        raw.seek(_N_STANDARD_COLUMNS)
        raw.write(struct.pack("<H", _BED9))


def _check(pybigtools: Any, made: Path, n_rows: int) -> None:
    """Raise OutputError unless all rows are there: pybigtools 0.3 prints its errors, and goes on."""
    n = 0
    if made.is_file():
        with pybigtools.open(str(made)) as file:
            n = sum(1 for contig in file.chroms() for _ in file.records(contig))
    if n != n_rows:
        raise OutputError(f"the bigBed has {n} of {n_rows} alleles: pybigtools could not write it")


def _lines(table: pd.DataFrame) -> list[str]:
    """Rows as text, without line ends; numbers of float32 in the shortest form, or nan."""
    columns = [table[name].to_numpy().astype(str).tolist() for name in table]
    return ["\t".join(row) for row in zip(*columns, strict=True)]


def _autosql(output: str, score: str) -> str:
    title = f"Effects on {output}, score {score}".replace('"', "'").replace("\n", " ")
    fields = [
        f'    {kind} {_UCSC_NAMES.get(name, name)}; "{words}"'
        for name, (kind, words) in BED_COLUMNS.items()
    ]
    return "\n".join(["table variantEffects", f'"{title}"', "(", *fields, ")", ""])
