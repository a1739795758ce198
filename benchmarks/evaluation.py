"""Compares effects of a trained network with a saturation mutagenesis, and asks whether their sd helps.

    python benchmarks/evaluation.py --data ../shared/data --folder evaluation

The data are not part of the project. mpra/measured.tsv and mpra/elements.fa: saturation mutagenesis MPRA
of Kircher et al., Nature Communications 2019 (regulatory elements, log2 effect of each substitution on
the expression of a reporter gene). explainn/foxa1_max_jund.pth: weights of ExplaiNN (explainn.py).
Without them the script says so and ends.

Windows of 200 bp, the input of the network, slide over each element in steps of 10 bp, and every
position of each window is mutated. A mutant is in many windows; `evaluate` takes it from the one in
which it lies nearest to the middle. Near an end of an element it lies farther off, since the script
does not know what stands beside the element on the plasmid.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from explainn import LENGTH, OUTPUTS, ExplaiNN
from scipy import stats

import kipoi_mcdropout as mcd
from kipoi_mcdropout.significance.calibration import calibrate

STEP_BP = 10
# Experiments in HepG2, in which FOXA1, MAX and JUND are expressed.
EXPERIMENTS = ("F9", "LDLR", "LDLR.2", "HNF4A", "PKLR-24h", "PKLR-48h")
POOLED = ("F9", "LDLR", "HNF4A", "PKLR-24h")  # each element once
MIN_BARCODES = 10  # effects from fewer are noisy
CHANGES_P = 1e-5  # an effect with a smaller p is a change of expression
ORDERS = ("effect", "z", "sd", "sign")


def elements(fasta: Path) -> dict[str, str]:
    """The sequences of the elements by name."""
    found = {}
    for block in fasta.read_text().split(">")[1:]:
        head, *lines = block.splitlines()
        found[head.split()[0]] = "".join(lines).upper()
    return found


def window_starts(length: int) -> list[int]:
    """Where windows begin in an element of this length: the last one ends with it."""
    return sorted({*range(0, length - LENGTH, STEP_BP), length - LENGTH})


def write_windows(sequences: dict[str, str], contigs: list[str], path: Path) -> None:
    """BED of the windows."""
    rows = [
        f"{contig}\t{start}\t{start + LENGTH}\t{contig}_{start}\n"
        for contig in contigs
        for start in window_starts(len(sequences[contig]))
    ]
    path.write_text("".join(rows))


def measured_effects(path: Path) -> pd.DataFrame:
    """Columns experiment, contig, variant, effect, se and changes, of the experiments in HepG2.

    The table has no standard errors; |effect| / z of its p-value takes their place.
    """
    table = pd.read_table(path)
    table = table[table["element"].isin(EXPERIMENTS) & (table["barcodes"] >= MIN_BARCODES)]
    place = table["contig"] + ":" + table["pos"].astype(str)
    z = stats.norm.isf(table["p_value"].clip(1e-300, 0.999) / 2)
    return pd.DataFrame(
        {
            "experiment": table["element"],
            "contig": table["contig"],
            "variant": place + ":" + table["ref"] + ":" + table["alt"],
            "effect": table["log2_effect"],
            "se": table["log2_effect"].abs() / z,
            "changes": (table["p_value"] < CHANGES_P).astype(int),
        }
    ).reset_index(drop=True)


def predicted_effects(data: Path, folder: Path, contigs: list[str], n_draws: int) -> mcd.Effects:
    """Effects in every window, computed unless the file is there."""
    path = folder / "mpra.parquet"
    if not path.is_file():
        fasta = folder / "elements.fa"  # an index is written beside it
        fasta.write_bytes((data / "mpra" / "elements.fa").read_bytes())
        write_windows(elements(fasta), contigs, folder / "windows.bed")
        model = mcd.load_model(
            f"{Path(__file__).with_name('explainn.py')}:{ExplaiNN.__name__}",
            weights=data / "explainn" / "foxa1_max_jund.pth",
            input_shape=(4, LENGTH),
            outputs=list(OUTPUTS),
        )
        mcd.ism(model, fasta=fasta, regions=folder / "windows.bed", n_draws=n_draws, output=path)
    return mcd.read(path)


def groups(measured: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each experiment, then all elements together."""
    for name in EXPERIMENTS:
        yield name, measured[measured["experiment"] == name]
    yield "all", measured[measured["experiment"].isin(POOLED)]


def cell(table: pd.DataFrame, quantity: str, order: str = "", minus: str = "", at: float = 1.0) -> str:
    """Value and interval of a row of an evaluation."""
    same = (table["quantity"] == quantity) & (table["order"] == order) & (table["minus"] == minus)
    row = table[same & (table["coverage"] == at)].iloc[0]
    return f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"


def print_table(head: list[str], rows: list[list[Any]]) -> None:
    """As Markdown."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def report(effects: mcd.Effects, measured: pd.DataFrame, folder: Path) -> None:
    """Print agreement, orders and coverage; write the tables of `evaluate`."""
    found = {}
    for target in OUTPUTS:
        for name, rows in groups(measured):
            found[target, name] = mcd.evaluate(effects, rows, target=target, label="changes")
            found[target, name].table.to_csv(folder / f"{name}_{target}.tsv", sep="\t", index=False)
    names = [*EXPERIMENTS, "all"]
    print("Pearson's correlation\n")
    rows = [[n, *(cell(found[t, n].table, "pearson") for t in OUTPUTS)] for n in names]
    print_table(["experiment", *OUTPUTS], rows)
    for target in OUTPUTS:
        print(f"{target}: share of right signs among all and among the most certain half, by order\n")
        rows = []
        for name in names:
            table = found[target, name].table
            kept = [cell(table, "sign_accuracy", order, "", 0.5) for order in ORDERS]
            gain = cell(table, "sign_accuracy", "z", "effect", 0.5)
            rows.append([name, found[target, name].n, cell(table, "sign_accuracy"), *kept, gain])
        print_table(["experiment", "n", "all", *ORDERS, "z - effect"], rows)
        print(f"{target}: auPRC for variants with p < {CHANGES_P:g}\n")
        rows = []
        for name in names:
            table = found[target, name].table
            kept = [cell(table, "auprc", order) for order in ORDERS]
            rows.append([name, cell(table, "label_share"), *kept])
        print_table(["experiment", "random", *ORDERS], rows)
    print("Coverage of 95 % intervals after a line is fitted (calibrate --align linear)\n")
    rows = []
    for target in OUTPUTS:
        for name, part in groups(measured):
            table = effects.table(target)
            result = calibrate(part, table, align="linear")
            codes = " ".join(caution.code for caution in result.cautions)
            observed = result.coverage.set_index("level").loc[0.95, "observed"]
            rows.append([target, name, f"{result.slope:.3f}", f"{observed:.2f}", codes])
    print_table(["output", "experiment", "slope", "coverage", "warnings"], rows)


def main() -> None:
    """Score, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with mpra/ and explainn/")
    parser.add_argument("--folder", type=Path, default=Path("evaluation"), help="what is written")
    parser.add_argument("--n_draws", type=int, default=100, help="number of draws (100)")
    options = parser.parse_args()
    needed = ("mpra/measured.tsv", "mpra/elements.fa", "explainn/foxa1_max_jund.pth")
    missing = [name for name in needed if not (options.data / name).is_file()]
    if missing:
        print(f"skipped: {options.data} has no {', '.join(missing)}")
        return
    options.folder.mkdir(exist_ok=True)
    np.seterr(all="raise", under="ignore")
    measured = measured_effects(options.data / "mpra" / "measured.tsv")
    contigs = list(dict.fromkeys(measured["contig"]))
    effects = predicted_effects(options.data, options.folder, contigs, options.n_draws)
    report(effects, measured, options.folder)


if __name__ == "__main__":
    main()
