"""The share of true effects in calibrated intervals, in regions that were not used for the calibration.

    python example/interval_coverage.py regions elements.bed
    kipoi mcdropout ism example/model -f example/data/genome.fa --regions elements.bed \
        --scores logit --target DNase --start 175 --end 325 -o elements.h5
    python example/interval_coverage.py measure elements.h5 calibration.tsv others.tsv
    kipoi mcdropout calibrate elements.h5 calibration.tsv --target DNase --conformal calibration.json
    kipoi mcdropout intervals elements.h5 --conformal calibration.json -o intervals.parquet
    python example/interval_coverage.py coverage intervals.parquet others.tsv -o coverage.png

    python example/interval_coverage.py repeat elements.h5
    python example/interval_coverage.py shift elements.h5

`regions` writes the planted elements of the synthetic genome. `measure` writes the true effects of all
substitutions: those in every second element, and those in the others. `coverage` prints the share of the
true effects of the second table that lie in the intervals, and draws it. `repeat` does all this for 20
random halves of the elements. `shift` does it for measurements of another cell type, in which CEBPB does
not open chromatin.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import truth
from truth import OUTPUTS, encode, true_logits_of_codes

from kipoi_mcdropout.effects.row_identity import variant_names
from kipoi_mcdropout.files.read import read_effects, read_provenance
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.significance.add_intervals import ConformalOptions
from kipoi_mcdropout.significance.conformal import describe_group, group_of
from kipoi_mcdropout.significance.interval_calibration import calibrate_intervals

DATA = Path(__file__).resolve().parent / "data"
STRONG = 0.1  # of a true effect
NORMAL_95 = 1.96
N_HALVES = 20
REACH = 40  # bases on either side of a mutation; no motif is that long


def write_regions(path: Path) -> None:
    """The planted elements as BED; every second one, in turn, is called calibration or other."""
    elements = json.loads((DATA / "truth.json").read_text())["elements"]
    path.write_text(
        "".join(
            f"{e['contig']}\t{e['start']}\t{e['end']}\t{'other' if i % 2 else 'calibration'}_{i}\n"
            for i, e in enumerate(elements)
        )
    )


def true_effects(effects: pd.DataFrame, output: str) -> np.ndarray:
    """True effect, on the logit scale, of each row of a result of windows on the forward strand."""
    true = np.empty(len(effects))
    with Genome(DATA / "genome.fa") as genome:
        for rows in effects.groupby("sequence").indices.values():
            own = effects.iloc[rows]
            position = own["position"].to_numpy()
            first = int(own["pos"].iloc[0]) - 1 - int(position[0])
            reference = encode(genome.bases(own["chrom"].iloc[0], first, first + 500))
            # Beside these bases no motif sees the mutation, and the sites that it leaves alone cancel.
            around = np.clip(position, REACH, len(reference) - REACH - 1)[:, None]
            before = reference[around + np.arange(-REACH, REACH + 1)]
            after = before.copy()
            after[np.arange(len(own)), position - around[:, 0] + REACH] = [
                "ACGT".index(base) for base in own["alt"]
            ]
            change = true_logits_of_codes(after) - true_logits_of_codes(before)
            true[rows] = change[:, OUTPUTS.index(output)]
    return true


def write_measured(result: Path, calibration: Path, others: Path) -> None:
    """True effects as tables of measured effects, of the two halves of the elements."""
    table = with_truth(result)
    measured = table[["variant", "effect"]]
    is_other = table["name"].str.startswith("other")
    measured[~is_other].to_csv(calibration, sep="\t", index=False)
    measured[is_other].to_csv(others, sep="\t", index=False)


def with_truth(result: Path, cebpb: float = truth.CEBPB_TO_DNASE) -> pd.DataFrame:
    """A result of one output with the columns `variant` and `effect`, the true one.

    `cebpb` is how much CEBPB raises DNase.
    """
    table = read_effects(result)
    (output,) = table["output"].unique()
    planted, truth.CEBPB_TO_DNASE = truth.CEBPB_TO_DNASE, cebpb
    try:
        return table.assign(variant=names_of(table), effect=true_effects(table, output))
    finally:
        truth.CEBPB_TO_DNASE = planted


def names_of(effects: pd.DataFrame) -> pd.Series:
    """Names of the variants; all windows lie on the forward strand."""
    return variant_names(effects[["chrom", "pos", "ref", "alt"]])


def coverage(result: Path, others: Path) -> pd.DataFrame:
    """Share of true effects in the intervals, by group of |effect| and for all; a row each."""
    options = ConformalOptions.of_record(read_provenance(result))
    if options is None:
        raise SystemExit(f"{result} has no intervals")
    effects = read_effects(result)
    table = effects.assign(variant=names_of(effects)).merge(pd.read_table(others), on="variant")
    held = table["effect"].between(table["ci_lower"], table["ci_upper"])
    normal = (table["effect"] - table["effect_mean"]).abs() <= NORMAL_95 * table["effect_sd"]
    edges = options.calibrations[0].groups.edges
    group = group_of(table["effect_mean"].abs().to_numpy(float), edges)
    rows = [(describe_group(edges, g), group == g) for g in range(len(edges) - 1)]
    rows += [("all effects", group >= 0), ("|true effect| above 0.1", table["effect"].abs() > STRONG)]
    half = (table["ci_upper"] - table["ci_lower"]) / 2
    found = [
        (words, int(np.sum(mine)), held[mine].mean(), normal[mine].mean(), half[mine].median())
        for words, mine in rows
    ]
    return pd.DataFrame(found, columns=["effects", "n", "intervals", "mean +- 1.96 sd", "half-width"])


def shares(result: Path, cebpb: float = truth.CEBPB_TO_DNASE) -> pd.DataFrame:
    """Share of true effects in the intervals, by shares of |effect|; a row for each half of elements.

    A calibration is made of one half; the share is that of the other half, with a truth of its own.
    """
    table, record = with_truth(result), read_provenance(result)
    new_truth = table if cebpb == truth.CEBPB_TO_DNASE else with_truth(result, cebpb)
    size, n_elements = table["effect_mean"].abs(), table["sequence"].nunique()
    random = np.random.default_rng(0)
    rows = []
    for _ in range(N_HALVES):
        mine = (random.permutation(n_elements) < n_elements // 2)[table["sequence"].to_numpy()]
        made = calibrate_intervals(table[mine][["variant", "effect"]], table[mine], record)
        new, new_size = new_truth[~mine], size[~mine]
        found = made.intervals(new["effect_mean"], new["effect_sd"])
        held = new["effect"].between(found.lower, found.upper)
        row = {"all effects": held.mean()}
        for part in (0.10, 0.03):
            row[f"largest {part:.0%} |effect|"] = held[new_size > new_size.quantile(1 - part)].mean()
        row["|true effect| > 0.1"] = held[new["effect"].abs() > STRONG].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def where_large_effects_lie(result: Path) -> str:
    """How many elements have half of the largest 3 % of the effects."""
    table = read_effects(result)
    size = table["effect_mean"].abs()
    each = table["sequence"][size > size.quantile(0.97)].value_counts().cumsum()
    n = int((each < each.iloc[-1] / 2).sum()) + 1
    return f"half of the largest 3% of |effect| lie in {n} of {table['sequence'].nunique()} elements"


def draw(table: pd.DataFrame, path: Path) -> None:
    """The table as a figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    ax = figure.subplots()
    place = np.arange(len(table))[::-1]
    ax.axvspan(0.93, 0.97, color="0.9", lw=0)
    ax.axvline(0.95, color="0.6", lw=0.8)
    for column, marker in (("mean +- 1.96 sd", "o"), ("intervals", "D")):
        words = "calibrated 95 % intervals" if column == "intervals" else column
        ax.plot(table[column], place, marker, label=words, markersize=5)
    ax.set_yticks(place, [f"{row.effects}  (n = {row.n:,})" for row in table.itertuples()])
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of true effects inside")
    ax.legend(loc="lower left", frameon=False, fontsize=8)
    figure.savefig(path, dpi=300)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("regions").add_argument("bed", type=Path)
    for step, names in {
        "measure": ("result", "calibration", "others"), "repeat": ("result",), "shift": ("result",),
        "coverage": ("result", "others"),
    }.items():  # fmt: skip
        own = steps.add_parser(step)
        for name in names:
            own.add_argument(name, type=Path)
    own.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.step == "regions":
        write_regions(options.bed)
    elif options.step == "measure":
        write_measured(options.result, options.calibration, options.others)
    elif options.step in ("repeat", "shift"):
        here = truth.CEBPB_TO_DNASE if options.step == "repeat" else 0.0
        found = shares(options.result, here)
        print(found.agg(["mean", "std", "min", "max"]).T.round(3).to_string())
        if options.step == "repeat":
            print(where_large_effects_lie(options.result))
    else:
        table = coverage(options.result, options.others)
        print(table.round(3).to_string(index=False))
        if options.output is not None:
            draw(table, options.output)


if __name__ == "__main__":
    main()
