"""Which effects are real? Cut-offs on z, q and percentile against the planted truth of the example.

    python benchmarks/significance.py            # 50 s on one core
    python benchmarks/significance.py --windows 4 --effects 1000

Mutates every position of windows of the example's genome, and compares the effects with a background of
dinucleotide shuffles. A substitution is real if it changes the true logit by at least 0.2, a tenth of
what a whole site does. (No substitution changes the truth by exactly 0, as occupancies are logistic.)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "example"))

from truth import OUTPUTS, encode, true_logits_of_codes  # noqa: E402

import kipoi_mcdropout as mcd  # noqa: E402
from kipoi_mcdropout.effects.z import z_values  # noqa: E402
from kipoi_mcdropout.sequence.genome import Genome  # noqa: E402

REAL = 0.2  # true change of the logit
CUTS = {
    "abs z": (2.0, 3.0, 5.0, 10.0),
    "q": (0.05, 0.1, 0.2),
    "percentile": (95.0, 98.0, 99.0, 99.9),
}


def elements(n: int) -> list[dict[str, object]]:
    """The first n windows of the planted elements that have a site and no N, in the genome's order."""
    planted = json.loads((ROOT / "example/data/truth.json").read_text())["elements"]
    with Genome(ROOT / "example/data/genome.fa") as genome:
        fit = [
            element
            for element in planted
            if element["sites"]
            and "N" not in genome.bases(element["contig"], element["start"], element["end"])
        ]
    return fit[:n]


def scored(n_windows: int, n_draws: int, n_effects: int, folder: Path) -> pd.DataFrame:
    """Effects of all substitutions, compared with the background, with their true effects."""
    model = mcd.load_model(ROOT / "example/model", model_input="seq")
    bed = folder / "windows.bed"
    windows = elements(n_windows)
    bed.write_text("".join(f"{e['contig']}\t{e['start']}\t{e['end']}\n" for e in windows))
    data = {"fasta": ROOT / "example/data/genome.fa", "regions": bed}
    null = folder / "null.parquet"
    options = mcd.BackgroundOptions(n_effects=n_effects)
    words = {"n_draws": n_draws, "seed": 0, "scores": "logit"}
    mcd.background(model, **data, **words, output=null, options=options)
    mutation = mcd.MutationOptions(background=null)
    table = mcd.ism(model, **data, **words, options=mutation).table()
    return table.assign(true=true_effects(table, windows))


def true_effects(table: pd.DataFrame, windows: list[dict[str, object]]) -> np.ndarray:
    """True change of the logit of each row."""
    true = np.full(len(table), np.nan)
    with Genome(ROOT / "example/data/genome.fa") as genome:
        for number, window in enumerate(windows):
            text = genome.bases(window["contig"], window["start"], window["end"])
            own = np.flatnonzero(table["sequence"] == number)
            mutants = table.iloc[own].drop_duplicates(["position", "alt"])
            codes = np.repeat(encode(text)[None], len(mutants) + 1, axis=0)
            rows = np.arange(1, len(codes))
            codes[rows, mutants["position"]] = encode("".join(mutants["alt"]))
            logits = true_logits_of_codes(codes)
            changes = pd.DataFrame(logits[1:] - logits[0], columns=list(OUTPUTS))
            changes[["position", "alt"]] = mutants[["position", "alt"]].to_numpy()
            long = changes.melt(["position", "alt"], var_name="output").astype({"position": np.int64})
            merged = table.iloc[own].merge(long, on=["position", "alt", "output"], how="left")
            true[own] = merged["value"]
    return true


def called(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which effects each rule calls real."""
    z = np.concatenate([np.abs(z_values(rows)) for _, rows in table.groupby("output", sort=False)])
    order = np.concatenate([rows.index for _, rows in table.groupby("output", sort=False)])
    size = np.empty(len(table))
    size[order] = z
    q, percentile = table["q_empirical"].to_numpy(), table["percentile"].to_numpy()
    rules = {f"abs z >= {cut:g}": size >= cut for cut in CUTS["abs z"]}
    rules |= {f"q <= {cut:g}": q <= cut for cut in CUTS["q"]}
    rules |= {f"percentile >= {cut:g}": percentile >= cut for cut in CUTS["percentile"]}
    rules["q <= 0.1 and abs z >= 2"] = (q <= 0.1) & (size >= 2)
    for cut in (95, 98, 99):
        rules[f"percentile >= {cut} and abs z >= 2"] = (percentile >= cut) & (size >= 2)
    sign, sd = table["sign_probability"].to_numpy(), table["percentile_sd"].to_numpy()
    rules["percentile >= 98 and sign_probability >= 0.98"] = (percentile >= 98) & (sign >= 0.98)
    rules["percentile >= 98 and percentile_sd <= 0.5"] = (percentile >= 98) & (sd <= 0.5)
    rules[f"abs effect >= {REAL:g}"] = np.abs(table["effect_mean"].to_numpy()) >= REAL
    return rules


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--effects", type=int, default=10_000)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        table = scored(options.windows, options.draws, options.effects, Path(folder))
    real = np.abs(table["true"].to_numpy()) >= REAL
    right = np.sign(table["effect_mean"]) == np.sign(table["true"])
    print(f"{len(table)} effects on {len(OUTPUTS)} outputs, {int(real.sum())} of them real")
    print("| rule | called | precision | recall | right sign |")
    print("|---|---|---|---|---|")
    rules = called(table)
    for rule, chosen in rules.items():
        print(f"| {rule} | {measures(chosen, real, right.to_numpy())} |")
    print("| rule | output | called | precision | recall | right sign |")
    print("|---|---|---|---|---|---|")
    for rule in ("abs z >= 3", "percentile >= 99", "percentile >= 99 and abs z >= 2"):
        for output in OUTPUTS:
            own = (table["output"] == output).to_numpy()
            found = measures(rules[rule] & own, real & own, right.to_numpy())
            print(f"| {rule} | {output} | {found} |")


def measures(chosen: np.ndarray, real: np.ndarray, right: np.ndarray) -> str:
    """Number of effects that are called, precision, recall, and share with the right sign."""
    n, hits = int(chosen.sum()), int((chosen & real).sum())
    if n == 0:
        return "0 | . | 0.00 | ."
    sign = (right & chosen).sum() / n
    return f"{n} | {hits / n:.2f} | {hits / real.sum():.2f} | {sign:.2f}"


if __name__ == "__main__":
    main()
