"""A toy model that can be told to fail, with enough sequences and variants for several units of work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from toy import LENGTH, MODEL_PY, make_toy

from kipoi_mcdropout.cli import run

N_SEQUENCES = 7
DATE = "2000-01-01T00:00:00+00:00"

# What `trap` says happens to an input with ten A and a C at its begin: see `TrappedWorld.set_trap`.
TRAP = """
import os
import signal
import time
from pathlib import Path


def spring(seq):
    trap = Path(TRAP)
    if not trap.exists() or type(seq) is not torch.Tensor:
        return
    kind, here = trap.read_text().split()
    if os.getpid() == int(here):
        return
    if not ((seq[:, :10, 0] == 1).all(dim=1) & (seq[:, 10, 1] == 1)).any():
        return
    if kind == "kill_once":
        trap.unlink()
    if kind.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "wait":
        until = time.monotonic() + 30  # a Ctrl-C that Python lost counts from the next unit on
        while trap.exists() and time.monotonic() < until:
            time.sleep(0.01)
        return
    if kind == "interrupt":
        raise KeyboardInterrupt
    raise RuntimeError("the trap has sprung")

"""


@dataclass(frozen=True)
class World:
    """Paths, and the words of commands on them."""

    folder: Path
    model: Path
    fasta: Path
    bed: Path
    vcf: Path

    @property
    def model_words(self) -> list[str]:
        return [str(self.model), "--source", "dir"]

    def ism(self, *words: str) -> None:
        data = json.dumps({"fasta_file": str(self.fasta), "intervals_file": str(self.bed)})
        command = [*self.model_words, "--dataloader_args", data, "--model_input", "seq"]
        run("ism", "kipoi mcdropout ism", [*command, "--n_draws", "3", *words])

    def score_variants(self, *words: str) -> None:
        command = [*self.model_words, "-i", str(self.vcf), "-f", str(self.fasta), "--n_draws", "3"]
        run("score_variants", "kipoi mcdropout score_variants", [*command, *words])

    def set_trap(self, kind: str, not_in_process: int = 0) -> None:
        """What happens to an input that begins with ten A and a C, but in the process named."""
        # kind: kill_once, kill, wait, interrupt or raise
        (self.model / "trap").write_text(f"{kind} {not_in_process}")

    def remove_trap(self) -> None:
        (self.model / "trap").unlink(missing_ok=True)


def make_world(folder: Path) -> World:
    toy = make_toy(folder)
    trap = TRAP.replace("Path(TRAP)", f"Path({str(toy.model / 'trap')!r})")
    source = MODEL_PY.replace("class ToyNet", f"{trap}\nclass ToyNet", 1)
    source = source.replace("        x = torch.relu", "        spring(seq)\n        x = torch.relu", 1)
    (toy.model / "model.py").write_text(source)
    random = np.random.default_rng(2)
    bases = ["".join(random.choice(list("ACGT"), LENGTH)) for _ in range(N_SEQUENCES)]
    bases[4] = "A" * 10 + "C" + bases[4][11:]  # what the trap looks for
    sequence = "".join(bases)
    toy.fasta.write_text(f">chr1\n{sequence}\n")
    rows = [f"chr1\t{i * LENGTH}\t{(i + 1) * LENGTH}\tregion{i}\n" for i in range(N_SEQUENCES)]
    toy.bed.write_text("".join(rows))
    vcf = folder / "in.vcf"
    lines = ["##fileformat=VCFv4.2", f"##contig=<ID=chr1,length={len(sequence)}>"]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for pos in range(15, len(sequence) - 14):
        ref = sequence[pos - 1]
        alt = "<DEL>" if pos % 11 == 0 else ref + "C" if pos % 5 == 0 else "ACGT"["ACGT".index(ref) - 1]
        lines.append(f"chr1\t{pos}\tv{pos}\t{ref}\t{alt}\t.\tPASS\tX={pos}")
    vcf.write_text("\n".join(lines) + "\n")
    return World(folder, toy.model, toy.fasta, toy.bed, vcf)


def same_date(monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """Files differ by nothing but what was computed."""

    class Clock:
        @staticmethod
        def now(_zone: object) -> Clock:
            return Clock()

        def isoformat(self, timespec: str) -> str:
            return DATE

    class Module:
        datetime = Clock

        class timezone:  # noqa: N801 (the name in the module)
            utc = None

    patch = monkeypatch or pytest.MonkeyPatch()
    patch.setattr("kipoi_mcdropout.files.provenance.datetime", Module)


def contents(folder: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def world_at(folder: Path) -> World:
    """The world that `make_world` has made."""
    return World(
        folder, folder / "model", folder / "genome.fa", folder / "regions.bed", folder / "in.vcf"
    )


def small_chunks() -> None:
    """Several units for a small VCF, in a process of its own."""
    import kipoi_mcdropout.vcf.score

    kipoi_mcdropout.vcf.score.chunk_alleles = lambda *_: 20  # type: ignore[assignment]


def make_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> World:
    """A world whose runs go to one folder each; VCFs are scored in chunks small enough to be cut."""
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    world = make_world(tmp_path)
    for name in names:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return world
