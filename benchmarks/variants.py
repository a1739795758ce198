"""Speed and memory of scoring a VCF, and a run over all of a real one.

    python benchmarks/variants.py throughput          # DeepSEA architecture against plain paired calls
    python benchmarks/variants.py memory              # peak memory with 1,000 and with 100,000 alleles
    python benchmarks/variants.py genomes FOLDER      # FOLDER/z.fa, FOLDER/z.vcf.gz: 1000 Genomes sites
    python benchmarks/variants.py share FOLDER        # the first of them, with windows shared and not

Each measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

BATCH_SIZE = 32
THROUGHPUT_BAR = 0.95  # of plain paired calls
MEMORY_BAR_MB = 50  # growth from the small to the large VCF
SIZES = (1_000, 100_000)


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("folder", nargs="?", type=Path, help="of the real data")
    parser.add_argument("--alleles", type=int, default=64, help="for throughput")
    parser.add_argument("--draws", type=int, default=30, help="for throughput")
    parser.add_argument("--repeats", type=int, default=3, help="for throughput, in turns")
    parser.add_argument("--engine", default="auto", help="for throughput: auto, full or incremental")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def sequence_of(n: int) -> str:
    import numpy as np

    return "".join(np.random.default_rng(0).choice(list("ACGT"), n))


def write_world(folder: Path, n_alleles: int, per_record: int, flank: int) -> tuple[Path, Path]:
    """SNVs of a random genome, `per_record` ALTs a record, at different positions."""
    n = n_alleles // per_record
    sequence = sequence_of(n + 2 * flank)
    fasta, vcf = folder / "g.fa", folder / "in.vcf"
    fasta.write_text(
        ">c\n" + "\n".join(sequence[i : i + 60] for i in range(0, len(sequence), 60)) + "\n"
    )
    with vcf.open("w") as file:
        file.write(f"##fileformat=VCFv4.2\n##contig=<ID=c,length={len(sequence)}>\n")
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for pos in range(flank + 1, flank + 1 + n):
            ref = sequence[pos - 1]
            alts = ",".join([b for b in "ACGT" if b != ref][:per_record])
            file.write(f"c\t{pos}\t.\t{ref}\t{alts}\t.\t.\t.\n")
    return fasta, vcf


# --- throughput -------------------------------------------------------------------------------------


def throughput(options: argparse.Namespace) -> None:
    """Alleles and draws per second, ours over plain, in turns; the median of the ratios.

    Ratios are of the processor time, which other work on the machine disturbs less than the clock;
    with one thread it is the time of the arithmetic, without the threads' waiting.
    """
    for per_record in (1, 3):
        ratios = []
        for turn in range(options.repeats):
            took = {
                name: worker(options, f"{name} {per_record}")
                for name in (("plain", "ours"), ("ours", "plain"))[turn % 2]
            }
            seconds = {name: result["cpu"] for name, result in took.items()}
            wall = took["plain"]["seconds"] / took["ours"]["seconds"]
            ratios.append(seconds["plain"] / seconds["ours"])
            print(
                f"{per_record} ALT a record, turn {turn + 1}: plain {seconds['plain']:.2f} s, "
                f"ours {seconds['ours']:.2f} s, ratio {ratios[-1]:.3f}, by the clock {wall:.3f}",
                flush=True,
            )
        median = statistics.median(ratios)
        verdict = "meets" if median >= THROUGHPUT_BAR else "misses"
        print(f"{per_record} ALT a record: {median:.3f} x plain paired calls, {verdict} the bar of "
              f"{THROUGHPUT_BAR}")  # fmt: skip


def time_throughput(options: argparse.Namespace, name: str, per_record: int) -> dict[str, Any]:
    from networks import build

    model = build("deepsea", seed=0)
    with tempfile.TemporaryDirectory() as text:
        n = options.alleles // per_record * per_record
        fasta, vcf = write_world(Path(text), n, per_record, 1000)
        run = plain if name == "plain" else partial(ours, engine=options.engine)
        seconds, cpu = run(model, fasta, vcf, Path(text), options.draws)
    return {"seconds": seconds, "cpu": cpu}


Times = tuple[float, float]  # by the clock, of the processor


def now() -> Times:
    return time.perf_counter(), time.process_time()


def since(begin: Times) -> Times:
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def plain(model: Any, fasta: Path, vcf: Path, _folder: Path, n_draws: int) -> Times:
    """A reference and an allele through the model for each draw, batch by batch; inputs are ready."""
    import numpy as np
    import torch

    sequence = "".join(fasta.read_text().split("\n")[1:])
    length, pairs = 1000, []
    for line in vcf.read_text().splitlines()[3:]:
        pos, alts = int(line.split("\t")[1]), line.split("\t")[4].split(",")
        start = pos - 1 - (length - 1) // 2
        window = sequence[start : start + length]
        index = pos - 1 - start
        pairs += [(window, window[:index] + alt + window[index + 1 :]) for alt in alts]
    eye = {base: row for base, row in zip("ACGT", np.eye(4, dtype=np.float32), strict=True)}

    def encode(texts: list[str]) -> torch.Tensor:
        codes = np.array([[eye[base] for base in text] for text in texts])
        return torch.from_numpy(codes.transpose(0, 2, 1).reshape(-1, *model.input_shape))

    slices = [pairs[i : i + BATCH_SIZE] for i in range(0, len(pairs), BATCH_SIZE)]
    batches = [(encode([r for r, _ in part]), encode([a for _, a in part])) for part in slices]
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.train()
    begin = now()
    with torch.inference_mode():
        for ref, alt in batches:
            effects = torch.stack([model(alt) - model(ref) for _ in range(n_draws)]).double()
            effects.mean(dim=0), effects.std(dim=0)
    return since(begin)


def ours(
    model: Any, fasta: Path, vcf: Path, folder: Path, n_draws: int, engine: str = "auto"
) -> Times:
    """All of score_variants, with reading and writing, the point prediction, and the table."""
    from kipoi_mcdropout import Model, RunOptions, VariantOptions, VcfOptions, score_variants

    ready = Model(model, input_shape=model.input_shape, category_axis=model.category_axis)

    def run(n: int, name: str) -> None:
        score_variants(
            ready, vcf, fasta, n_draws=n,
            output=[folder / f"{name}.vcf.gz", folder / f"{name}.parquet"],
            options=VariantOptions(region=None if name == "all" else "c:1001-1002"),
            vcf_options=VcfOptions(targets=[0]),
            running=RunOptions(batch_size=BATCH_SIZE, engine=engine),
        )  # fmt: skip

    run(2, "first")  # imports, once a process
    begin = now()
    run(n_draws, "all")
    return since(begin)


# --- memory -----------------------------------------------------------------------------------------


def memory(options: argparse.Namespace) -> None:
    """Peak resident memory of a whole run, at two sizes of the VCF."""
    peaks = []
    for n in SIZES:
        result = worker(options, f"memory {n}")
        peaks.append(result["peak_mb"])
        print(f"{n} alleles: peak {result['peak_mb']:.0f} MB, {result['seconds']:.1f} s", flush=True)
    growth = peaks[1] - peaks[0]
    verdict = "meets" if growth < MEMORY_BAR_MB else "misses"
    print(f"growth {growth:.0f} MB, {verdict} the bar of {MEMORY_BAR_MB} MB")


def small_network(length: int, n_outputs: int) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv1d(4, 8, 9), nn.ReLU(), nn.MaxPool1d(4), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(8 * ((length - 8) // 4), n_outputs), nn.Sigmoid(),
    )  # fmt: skip


def peak_memory(n_alleles: int) -> dict[str, Any]:
    from kipoi_mcdropout import Model, VcfOptions, score_variants

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        fasta, vcf = write_world(folder, n_alleles, 1, 100)
        begin = time.perf_counter()
        model = Model(small_network(100, 10), input_shape=(4, 100))
        effects = score_variants(
            model, vcf, fasta, n_draws=2, output=[folder / "out.vcf.gz", folder / "out.parquet"],
            vcf_options=VcfOptions(skipped=folder / "skipped.tsv"),
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        assert effects.provenance["ledger"]["scored"] == n_alleles
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "seconds": seconds}


# --- real data --------------------------------------------------------------------------------------


def genomes(options: argparse.Namespace) -> None:
    """All 1000 Genomes sites of 1 Mb: the ledger, the time, and bcftools' count of the output."""
    if options.folder is None:
        raise SystemExit("give the folder of z.fa and z.vcf.gz")
    print(worker(options, f"genomes {options.folder}")["text"])


def run_genomes(folder: Path) -> dict[str, Any]:
    from kipoi_mcdropout import Model, score_variants

    with tempfile.TemporaryDirectory() as text:
        out = Path(text) / "out.vcf.gz"
        begin = time.perf_counter()
        effects = score_variants(
            Model(small_network(200, 4), input_shape=(4, 200)), folder / "z.vcf.gz", folder / "z.fa",
            n_draws=10, output=[out, Path(text) / "out.parquet"],
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        ledger = effects.provenance["ledger"]
        counts = ", ".join(f"{name} {ledger[name]}" for name in ("records", "alleles", "scored"))
        lines = [counts, f"{seconds:.1f} s, 10 draws, 4 outputs"]
        rows = ledger["scored"] * 4
        for name in ("out.vcf.gz", "out.parquet"):
            size = (Path(text) / name).stat().st_size
            each = size / rows
            lines.append(f"{name}: {size / 1e6:.1f} MB, {each:.0f} bytes for an allele and output")
        if shutil.which("bcftools"):
            subprocess.run(["bcftools", "index", out], check=True)
            count = subprocess.run(["bcftools", "index", "-n", out], check=True, capture_output=True)
            lines.append(f"bcftools counts {int(count.stdout)} records in the output")
    return {"text": "\n".join(lines)}


# --- shared windows ---------------------------------------------------------------------------------

SHARED_BP = (0, 50, 100, 200)


def share(options: argparse.Namespace) -> None:
    """Processor time of the DeepSEA architecture over dense sites, with windows shared and not."""
    if options.folder is None:
        raise SystemExit("give the folder of z.fa and z.vcf.gz")
    took: dict[int, list[float]] = {bp: [] for bp in SHARED_BP}
    windows = {}
    for turn in range(options.repeats):
        for bp in SHARED_BP if turn % 2 else reversed(SHARED_BP):
            result = worker(options, f"share {bp} {options.folder}")
            took[bp].append(result["cpu"])
            windows[bp] = result["windows"]
    for bp in SHARED_BP:
        ratio = statistics.median(a / b for a, b in zip(took[0], took[bp], strict=True))
        seconds = statistics.median(took[bp])
        print(
            f"--share_windows {bp}: {options.alleles} records, {windows[bp]} windows, {seconds:.2f} s "
            f"of the processor, {ratio:.2f} x as fast"
        )


def time_share(options: argparse.Namespace, share_bp: int, folder: Path) -> dict[str, Any]:
    import gzip
    import itertools

    from networks import build

    from kipoi_mcdropout import Model, RunOptions, VariantOptions, score_variants
    from kipoi_mcdropout.vcf.place.shared_windows import shared
    from kipoi_mcdropout.vcf.read.reader import VcfReader

    network = build("deepsea", seed=0)
    model = Model(network, input_shape=network.input_shape, category_axis=network.category_axis)
    running = RunOptions(batch_size=BATCH_SIZE, engine=options.engine)
    with tempfile.TemporaryDirectory() as text, gzip.open(folder / "z.vcf.gz", "rt") as lines:
        vcf = Path(text) / "some.vcf"
        head = list(itertools.takewhile(lambda line: line.startswith("##"), lines))  # and the columns
        columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        dense = list(itertools.islice(lines, 2000, 2000 + options.alleles))
        vcf.write_text("".join([*head, "##contig=<ID=z>\n", columns, *dense]))
        with VcfReader(vcf) as reader:
            records = shared(reader, share_bp) if share_bp else reader
            windows = len({(r.contig, r.pos - 1 if r.middle is None else r.middle) for r in records})
        first = dense[0].split("\t", 2)
        region = f"{first[0]}:{first[1]}-{first[1]}"
        for where, bp in ((region, 0), (None, share_bp)):  # the first run is for the imports
            begin = now()
            score_variants(
                model, vcf, folder / "z.fa", n_draws=options.draws, running=running,
                options=VariantOptions(share_windows=bp, region=where),
            )  # fmt: skip
        cpu = since(begin)[1]
    return {"cpu": cpu, "windows": windows}


# --- processes --------------------------------------------------------------------------------------


def worker(options: argparse.Namespace, task: str) -> dict[str, Any]:
    """Run a task in a process of its own."""
    flags = ["alleles", "draws", "threads", "engine"]
    command = [sys.executable, __file__, options.what, "--worker", task]
    command += [x for flag in flags for x in (f"--{flag}", str(getattr(options, flag)))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def work(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.set_num_threads(options.threads)
    name, argument = options.worker.split(" ", 1)
    if name == "memory":
        return peak_memory(int(argument))
    if name == "genomes":
        return run_genomes(Path(argument))
    if name == "share":
        bp, folder = argument.split(" ", 1)
        return time_share(options, int(bp), Path(folder))
    return time_throughput(options, name, int(argument))


WHAT = {"throughput": throughput, "memory": memory, "genomes": genomes, "share": share}


def main() -> None:
    options = get_parser().parse_args()
    if options.worker:
        print(json.dumps(work(options)))
    else:
        WHAT[options.what](options)


if __name__ == "__main__":
    main()
