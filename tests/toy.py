"""A tiny Kipoi model directory with a FASTA and a BED, for tests of the whole path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

LENGTH = 24

MODEL_PY = """
import torch
from torch import nn


class ToyNet(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5, padding=2)
        self.drop = nn.Dropout(p)
        self.dense = nn.Linear(6 * 24, 3)

    def forward(self, seq):
        x = torch.relu(self.conv(seq.transpose(1, 2)))
        return torch.sigmoid(self.dense(self.drop(x).flatten(1)))
"""

MODEL_YAML = """
defined_as: kipoi.model.PyTorchModel
args:
  module_file: model.py
  module_class: ToyNet
  module_kwargs: {module_kwargs}
  weights: weights.pt
default_dataloader: .
info:
  authors: [{{name: Test}}]
  doc: toy
schema:
  inputs:
    seq:
      shape: (24, 4)
      special_type: DNASeq
      doc: one-hot sequence
  targets:
    shape: (3,)
    doc: three outputs
    column_labels: [FOXA1, FOXA2, DNase]
"""

DATALOADER_YAML = """
type: Dataset
defined_as: dataloader.ToyDataset
args:
  fasta_file: {doc: FASTA}
  intervals_file: {doc: BED}
info:
  authors: [{name: Test}]
  doc: toy
output_schema:
  inputs:
    seq:
      shape: (24, 4)
      special_type: DNASeq
      doc: one-hot sequence
  metadata:
    ranges:
      type: GenomicRanges
      doc: where
"""

DATALOADER_PY = """
import os

import numpy as np
import pyfaidx
from kipoi.data import Dataset
from kipoi.metadata import GenomicRanges


class ToyDataset(Dataset):
    def __init__(self, fasta_file, intervals_file):
        self.path, self.process = os.path.abspath(fasta_file), None
        pyfaidx.Faidx(self.path).close()
        lines = [line.split() for line in open(intervals_file) if line.strip()]
        self.rows = [(c, int(s), int(e), n) for c, s, e, n in lines]

    def __len__(self):
        return len(self.rows)

    def genome(self):
        if self.process != os.getpid():
            self.fasta = pyfaidx.Fasta(self.path, sequence_always_upper=True)
            self.process = os.getpid()
        return self.fasta

    def __getitem__(self, i):
        chrom, start, end, name = self.rows[i]
        text = str(self.genome()[chrom][start:end])
        one_hot = np.array([[base == letter for letter in "ACGT"] for base in text], np.float32)
        ranges = GenomicRanges(chr=chrom, start=start, end=end, id=name, strand="+")
        return {"inputs": {"seq": one_hot}, "metadata": {"ranges": ranges}}
"""


@dataclass(frozen=True)
class Toy:
    """Paths of a toy model and its data."""

    model: Path
    fasta: Path
    bed: Path

    @property
    def dataloader_args(self) -> dict[str, str]:
        return {"fasta_file": str(self.fasta), "intervals_file": str(self.bed)}


class ToyNet(nn.Module):
    """The same network as in the model directory."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5, padding=2)
        self.drop = nn.Dropout(p)
        self.dense = nn.Linear(6 * LENGTH, 3)

    def forward(self, seq: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(seq.transpose(1, 2)))
        return torch.sigmoid(self.dense(self.drop(x).flatten(1)))


def make_toy(folder: Path, p: float = 0.5, poison: bool = False) -> Toy:
    """Write the model and three sequences: the second in lower case, the third with two N."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "model.py").write_text(MODEL_PY)
    (model / "model.yaml").write_text(MODEL_YAML.format(module_kwargs={"p": p}))
    (model / "dataloader.py").write_text(DATALOADER_PY)
    (model / "dataloader.yaml").write_text(DATALOADER_YAML)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ToyNet(p)
    if poison:
        net.dense.weight.data[0, 0] = float("nan")
    torch.save(net.state_dict(), model / "weights.pt")
    random = np.random.default_rng(1)
    bases = ["".join(random.choice(list("ACGT"), LENGTH)) for _ in range(3)]
    sequence = bases[0] + bases[1].lower() + bases[2][:10] + "NN" + bases[2][12:]
    (folder / "genome.fa").write_text(f">chr1\n{sequence}\n")
    rows = [f"chr1\t{i * LENGTH}\t{(i + 1) * LENGTH}\tregion{i}\n" for i in range(3)]
    (folder / "regions.bed").write_text("".join(rows))
    return Toy(model, folder / "genome.fa", folder / "regions.bed")
