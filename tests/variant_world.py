"""A small genome, a small network, and VCFs made from lines: what the tests of variants share."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

LENGTH = 21
BASES = "ACGT"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


class TinyNet(nn.Module):
    """Three probabilities of a one-hot window, shape=(n, 4, length)."""

    def __init__(self, length: int = LENGTH, p: float = 0.4, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5, bias=bias)
        self.drop = nn.Dropout(p)
        self.dense = nn.Linear(6 * (length - 4), 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.dense(self.drop(torch.relu(self.conv(x))).flatten(1)))


def tiny_net(length: int = LENGTH) -> TinyNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return TinyNet(length)


def random_sequence(n: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(BASES), n))


def one_hot(text: str, unknown: float = 0.25) -> np.ndarray:
    """shape=(4, length), written apart from the package's own encoder."""
    x = np.full((4, len(text)), unknown, np.float32)
    for i, base in enumerate(text.upper()):
        if base in BASES:
            x[:, i] = 0
            x[BASES.index(base), i] = 1
    return x


def write_fasta(path: Path, sequences: dict[str, str], width: int = 50) -> Path:
    with path.open("w") as file:
        for name, sequence in sequences.items():
            file.write(f">{name} something\n")
            file.writelines(sequence[i : i + width] + "\n" for i in range(0, len(sequence), width))
    return path


def write_vcf(
    path: Path,
    records: Sequence[str],
    contigs: dict[str, int] | None = None,
    header: Sequence[str] = (),
    samples: Sequence[str] = (),
) -> Path:
    """Records with their columns apart by spaces; eight columns, or those of samples too."""
    lines = ["##fileformat=VCFv4.2", *header]
    lines += [f"##contig=<ID={name},length={n}>" for name, n in (contigs or {}).items()]
    lines.append("\t".join([COLUMNS, *(["FORMAT", *samples] if samples else [])]))
    lines += ["\t".join(record.split(" ")) for record in records]
    text = "\n".join(lines) + "\n"
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text)
    return path


def body(path: Path) -> list[str]:
    """Records of a VCF as text, whatever its compression."""
    data = gzip.decompress(path.read_bytes()) if path.name.endswith("gz") else path.read_bytes()
    return [line for line in data.decode().splitlines() if line and line[0] != "#"]


def without_added(line: str, prefix: str = "MCD") -> str:
    """A record less the INFO fields that were added to it."""
    columns = line.split("\t")
    kept = [f for f in columns[7].split(";") if not f.startswith(prefix + "_")]
    columns[7] = ";".join(kept) or "."
    return "\t".join(columns)


def info(line: str) -> dict[str, str]:
    return dict(f.partition("=")[::2] for f in line.split("\t")[7].split(";"))


def bgzip(data: bytes) -> bytes:
    """The data as the program bgzip compresses them; the test skips without it."""
    if shutil.which("bgzip") is None:
        pytest.skip("bgzip is not installed (Debian package tabix)")
    return subprocess.run(["bgzip", "-c"], input=data, capture_output=True, check=True).stdout


def bcftools(*args: str | Path) -> str:
    """Run bcftools; the test skips without it."""
    if shutil.which("bcftools") is None:
        pytest.skip("bcftools is not installed (Debian package bcftools)")
    done = subprocess.run(["bcftools", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[E::" not in done.stderr, done.stderr
    return done.stdout
