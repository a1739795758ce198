"""A Kipoi model directory as kipoi-veff wants it: `postprocessing` in the two YAML files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

LENGTH = 20

MODEL_PY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5)
        self.drop = nn.Dropout(0.4)
        self.dense = nn.Linear(6 * 16, 3)

    def forward(self, seq):
        x = torch.relu(self.conv(seq.transpose(1, 2)))
        return torch.sigmoid(self.dense(self.drop(x).flatten(1)))
"""

MODEL_YAML = """
defined_as: kipoi.model.PyTorchModel
args:
  module_file: model.py
  module_class: Net
  weights: weights.pt
default_dataloader: .
info: {authors: [{name: Test}], doc: toy}
schema:
  inputs:
    seq: {shape: "(20, 4)", special_type: DNASeq, doc: one-hot, associated_metadata: ranges}
  targets: {shape: "(3,)", doc: outputs, column_labels: [FOXA1, FOXA2, DNase]}
postprocessing:
  variant_effects:
    seq_input: [seq]
    use_rc: USE_RC
"""

DATALOADER_YAML = """
type: Dataset
defined_as: dataloader.Regions
args:
  fasta_file: {doc: FASTA}
  intervals_file: {doc: BED}
info: {authors: [{name: Test}], doc: toy}
output_schema:
  inputs:
    seq: {shape: "(20, 4)", special_type: DNASeq, doc: one-hot, associated_metadata: ranges}
  metadata:
    ranges: {type: GenomicRanges, doc: where}
postprocessing:
  variant_effects:
    bed_input: [intervals_file]
"""

DATALOADER_PY = """
import numpy as np
import pyfaidx
from kipoi.data import Dataset
from kipoi.metadata import GenomicRanges


class Regions(Dataset):
    def __init__(self, fasta_file, intervals_file):
        self.fasta = pyfaidx.Fasta(fasta_file, sequence_always_upper=True)
        with open(intervals_file) as file:
            self.rows = [line.split() for line in file if line.strip()]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        chrom, start, end, name = self.rows[i]
        text = str(self.fasta[chrom][int(start):int(end)])
        one_hot = np.array([[base == letter for letter in "ACGT"] for base in text], np.float32)
        ranges = GenomicRanges(chr=chrom, start=int(start), end=int(end), id=name, strand="+")
        return {"inputs": {"seq": one_hot}, "metadata": {"ranges": ranges}}
"""


@dataclass(frozen=True)
class VeffWorld:
    """A model, its genome, and a sorted VCF of SNVs."""

    model: Any
    fasta: Path
    vcf: Path
    sequence: str

    @property
    def dl_args(self) -> dict[str, str]:
        return {"fasta_file": str(self.fasta)}


def make_world(folder: Path, use_rc: bool = False) -> VeffWorld:
    import kipoi

    directory = folder / ("model_rc" if use_rc else "model")
    directory.mkdir()
    (directory / "model.py").write_text(MODEL_PY)
    (directory / "model.yaml").write_text(MODEL_YAML.replace("USE_RC", str(use_rc).lower()))
    (directory / "dataloader.py").write_text(DATALOADER_PY)
    (directory / "dataloader.yaml").write_text(DATALOADER_YAML)
    names: dict[str, Any] = {}
    exec(MODEL_PY, names)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = names["Net"]()
    torch.save(net.state_dict(), directory / "weights.pt")
    sequence = "".join(np.random.default_rng(7).choice(list("ACGT"), 300))
    fasta = folder / "g.fa"
    fasta.write_text(f">chr1\n{sequence}\n")
    vcf = write_vcf(folder / "in.vcf", [snv(sequence, pos) for pos in range(30, 250, 11)])
    return VeffWorld(kipoi.get_model(str(directory), source="dir"), fasta, vcf, sequence)


def snv(sequence: str, pos: int, contig: str = "chr1") -> str:
    base = sequence[pos - 1]
    return f"{contig}\t{pos}\tv{pos}\t{base}\t{'ACGT'[('ACGT'.index(base) + 1) % 4]}\t.\tPASS\tAF=0.1"


def write_vcf(path: Path, records: list[str], samples: str = "") -> Path:
    header = [
        "##fileformat=VCFv4.2",
        '##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">',
        "##contig=<ID=chr1,length=300>",
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO" + (f"\tFORMAT\t{samples}" if samples else ""),
    ]
    path.write_text("\n".join([*header, *records]) + "\n")
    return path
