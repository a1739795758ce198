"""Enformer at its real size: audit, a few positions of ISM and one record of a VCF, in one process.

    pip install enformer-pytorch
    python benchmarks/enformer.py

196,608 bp, 896 bins x 5,313 tracks, random weights, float32. Prints the time of each part and the peak
memory of the process so far. The bar for the peak is 12 GB.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

LENGTH = 196_608
BAR_GB = 12
TRACKS = [0, 100, 5312]


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--positions", type=int, default=5)
    parser.add_argument("--draws", type=int, default=2)
    return parser


def enformer() -> torch.nn.Module:
    from enformer_pytorch import Enformer

    torch.manual_seed(0)
    return Enformer.from_hparams(
        dim=1536, depth=11, heads=8, output_heads={"human": 5313, "mouse": 1643}, target_length=896
    ).eval()


def timed(what: str, function: Callable[[], Any]) -> Any:
    begin = time.perf_counter()
    result = function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seconds = time.perf_counter() - begin
    verdict = "within" if peak <= BAR_GB else "MORE THAN"
    print(f"{what}: {seconds:.0f} s; peak so far {peak:.2f} GB, {verdict} {BAR_GB} GB", flush=True)
    return result


def write_genome(folder: Path) -> tuple[Path, Path]:
    """A contig of random bases that is a little longer than the model's input, and one record."""
    letters = np.random.default_rng(0).choice(list("ACGT"), LENGTH + 1000)
    fasta, vcf = folder / "genome.fa", folder / "in.vcf"
    fasta.write_text(">chr1\n" + "".join(letters) + "\n")
    at = len(letters) // 2
    alt = "A" if letters[at - 1] != "A" else "C"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    record = f"chr1\t{at}\t.\t{letters[at - 1]}\t{alt}\t.\t.\t."
    vcf.write_text(f"##fileformat=VCFv4.2\n##contig=<ID=chr1>\n{columns}\n{record}\n")
    return fasta, vcf


def main() -> None:
    import kipoi_mcdropout as mcd

    options = get_parser().parse_args()
    model = mcd.Model(enformer(), input_shape=(LENGTH, 4), unknown="zero")
    words: dict[str, Any] = {
        "n_draws": options.draws, "head": "human", "tracks": TRACKS, "track_axis": 1, "reduce": "sum@4",
        "scores": "log2fc",
    }  # fmt: skip
    middle = LENGTH // 2
    window = mcd.MutationOptions(start=middle, end=middle + options.positions)
    codes = np.random.default_rng(1).integers(0, 4, LENGTH)
    sequence = np.eye(4, dtype=np.float32)[codes][None]

    def variants(folder: Path) -> Any:
        fasta, vcf = write_genome(folder)
        return mcd.score_variants(model, vcf, fasta, **words)

    n = 3 * options.positions
    found = timed(
        f"ISM of {n} mutants, {options.draws} draws",
        lambda: mcd.ism(model, sequence, options=window, **words),
    ).table()
    print(found[["position", "alt", "output", "effect_mean", "effect_sd"]].head(3).to_string())
    with tempfile.TemporaryDirectory() as folder:
        scored = timed("one record of a VCF", lambda: variants(Path(folder))).table()
    print(scored[["pos", "alt", "output", "effect_mean", "effect_sd"]].to_string())
    audit = timed("audit", lambda: mcd.audit(model))
    print(f"{len(audit.rows)} dropout sites")


if __name__ == "__main__":
    main()
