"""The simulation of deepmr repeated: slopes between the outputs of trained networks, and the true ones.

    python benchmarks/deepmr.py [--quick] [--datasets 4] [--sequences 20] [--jobs 2] [--seed 0]

For each data set: 4,000 simulated sequences and 1,000 variants of them (`deepmr_process.py`), five
networks trained on their labels, all substitutions of 20 further sequences with both sites, one slope
for each sequence, and a meta-analysis (REML) over the sequences. Two ways of using the networks:

- "deepmr": dropout off. The five predictions are recalibrated on 500 further labels; the standard error
  of an effect is the sd over the members (ddof=0). Instruments are the substitutions whose exposure
  effect is at least 1 sd (over all substitutions) from the mean. MR-Egger is robust with more than 10
  instruments.
- "draws": `mcd.ism` with 5 members and 6 draws of each, no recalibration. Instruments are those with
  |effect| / sd of at least 2, the strongest of a position. Intervals of Hartung and Knapp.

Printed, a row per scenario and method, over the data sets: the correlation of the estimated and the true
global effect; the mean error, and the mean relative error (of true effects above 0.2); how often the
true global effect lies in the 95 % interval of the mean, and within 2 tau of it (what deepmr calls the
coverage; tau is the sd between sequences); and how many true local effects lie in the interval of their
sequence. Rows of published figures stand below those of each scenario. Effects are on the transformed
scale of the outputs.

Published: the tables that the authors' notebook prints (`src/R/generate_paper_figures.nb.html` in
github.com/an1lam/deepmr at 04c9699, of 6 August 2022), 50 data sets a scenario. Correlation, coverage
within 2 tau and local coverage stand there. Errors and coverage of the interval are computed from its
rows of single data sets; those of "both", and of IVW, are not in it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from deepmr_process import (
    LENGTH,
    SCENARIOS,
    Data,
    FloatArray,
    Process,
    Scenario,
    one_hot,
    substitutions,
)

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import Estimate, Instruments, answer, combine, instruments, mr_estimate
from kipoi_mcdropout.significance.quantile_map import QuantileMap

N_MEMBERS, DRAWS_OF_MEMBER = 5, 6
N_CALIBRATION, N_BOOTSTRAP = 500, 200
OUTPUTS = ["exposure", "outcome"]
SMALLEST_RELATIVE = 0.2
FEWEST_FOR_ROBUST = 10
OF_MEMBERS = ("egger_robust", "ivw", "raps_simple_l2", "raps", "weighted_median")
OF_DRAWS = ("ivw", "ivw_bootstrap_both", "egger_bootstrap_both", "weighted_median_bootstrap_both")
BASELINE, ANSWER = "mean ratio", "answer"
COLUMNS = ("correlation", "error", "relative error", "in interval", "within 2 tau", "local")
NONE = float("nan")  # there is no such number
# Scenario -> method -> what COLUMNS say; None: not found.
PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {  # of the notebook, see above
    "no confounding": {
        "robust MR-Egger": (0.99, -0.030, -0.005, 0.52, 1.00, 0.87),
        "IVW": (1.00, None, None, None, 1.00, 0.41),
        "mean ratio": (0.99, -0.424, -0.193, NONE, 1.00, NONE),
    },
    "sequence-independent": {
        "robust MR-Egger": (0.99, 0.056, 0.007, 0.30, 1.00, 0.81),
        "IVW": (0.99, None, None, None, 0.96, 0.37),
        "mean ratio": (0.98, -0.276, -0.161, NONE, 0.96, NONE),
    },
    "sequence-dependent": {
        "robust MR-Egger": (0.99, -0.202, -0.102, 0.14, 0.98, 0.87),
        "IVW": (0.99, None, None, None, 0.88, 0.29),
        "mean ratio": (0.99, -0.178, -0.186, NONE, 0.86, NONE),
    },
    "both": {
        "robust MR-Egger": (0.88, None, None, None, 0.98, 0.81),
        "IVW": (0.98, None, None, None, 0.92, 0.34),
        "mean ratio": (0.98, None, None, NONE, 0.92, NONE),
    },
}

Row = tuple[float, ...]  # true, estimate, lower, upper, tau, locals inside, locals
Rows = dict[tuple[str, str], Row]


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(4, 20, 11), nn.ReLU(), nn.MaxPool1d(5), nn.Conv1d(20, 20, 5), nn.ReLU(), nn.Flatten(),
        nn.Linear(280, 40), nn.ReLU(), nn.Dropout(0.1), nn.Linear(40, 2),
    )  # fmt: skip


def trained(data: list[Data], seed: int, epochs: int, *, binary: bool) -> nn.Sequential:
    """A network trained on 85 % of the data, on the scale of the labels (binary: logits)."""
    torch.manual_seed(seed)
    x = torch.from_numpy(np.concatenate([one_hot(d.codes) for d in data]))
    y = torch.from_numpy(np.concatenate([d.labels for d in data])).float()
    rows = torch.randperm(len(x))[: int(0.85 * len(x))]
    model = network()
    middle, spread = (torch.zeros(2), torch.ones(2)) if binary else (y.mean(0), y.std(0))
    loss = nn.BCEWithLogitsLoss() if binary else nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters())
    steps = epochs * -(-len(rows) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(128):
            optimizer.zero_grad()
            loss(model(x[batch]), (y[batch] - middle) / spread).backward()
            optimizer.step()
            schedule.step()
    last = model[-1]
    last.weight.data *= spread[:, None]
    last.bias.data = last.bias.data * spread + middle
    return model.eval()


@torch.inference_mode()
def predictions(models: list[nn.Sequential], codes: Any) -> FloatArray:
    """Outputs with dropout off, shape=(members, n, 2)."""
    x = torch.from_numpy(one_hot(codes))
    return np.stack([model(x).double().numpy() for model in models])


class Recalibration:
    """Predictions of members, moved so that measured labels have the quantiles that are predicted.

    As deepmr does, a member's prediction is read as a quantile of N(mean, sd) of the members, and goes
    to the value below which this share of the labels lies. deepmr takes the map from central intervals,
    by isotonic regression; here it is that of quantiles (Kuleshov, Fenner and Ermon, ICML 2018).
    """

    def __init__(self, predicted: FloatArray, labels: FloatArray) -> None:
        z = (labels - predicted.mean(0)) / predicted.std(0)
        self.maps = [QuantileMap.of(column) for column in z.T]

    def __call__(self, predicted: FloatArray) -> FloatArray:
        mean, sd = predicted.mean(0), predicted.std(0)
        share = ndtr((predicted - mean) / sd)
        moved = [m.z_at(share[..., i]) for i, m in enumerate(self.maps)]
        return mean + sd * np.stack(moved, axis=-1)


def local_and_global(
    parts: dict[int, Instruments], method: str, true: FloatArray, *, hartung_knapp: bool
) -> Row | None:
    """A row of one data set; None with fewer than 2 sequences that have a slope."""
    found: list[tuple[int, Estimate]] = []
    for i, part in parts.items():
        few = method == "egger_robust" and part.n_kept <= FEWEST_FOR_ROBUST
        try:
            found.append((i, mr_estimate(part, "egger" if few else method, n_bootstrap=N_BOOTSTRAP)))
        except (InputError, ZeroDivisionError):  # the latter: MR-RAPS at a slope without a gradient
            continue
    usable = [(i, e) for i, e in found if np.isfinite(e.se) and e.se > 0]
    if len(usable) < 2:
        return None
    inside = sum(e.ci_lower <= true[i] <= e.ci_upper for i, e in usable)
    slopes, errors = ([getattr(e, name) for _, e in usable] for name in ("estimate", "se"))
    whole = combine(slopes, errors, "REML", hartung_knapp=hartung_knapp)
    ends = (whole.estimate, whole.ci_lower, whole.ci_upper, whole.tau2**0.5)
    return (float(true.mean()), *ends, float(inside), float(len(usable)))


def of_members(models: list[nn.Sequential], process: Process, tested: Data, true: FloatArray) -> Rows:
    """The way of deepmr."""
    binary = process.scenario.binary
    codes = np.concatenate([np.concatenate([c[None], substitutions(c)]) for c in tested.codes])
    predicted = predictions(models, codes)
    if not binary:  # labels of 0 and 1 have no residuals on the logit scale
        held_out = process.data(N_CALIBRATION)
        recalibrate = Recalibration(predictions(models, held_out.codes), held_out.labels)
        predicted = recalibrate(predicted)
    values = predicted.reshape(len(models), len(tested.codes), -1, 2)
    effects = values[:, :, 1:] - values[:, :, :1]  # (members, sequences, mutants, outputs)
    mean, sd = effects.mean(0), effects.std(0)
    strong = np.abs(mean[..., 0] - mean[..., 0].mean()) >= mean[..., 0].std()
    parts, ratios = {}, []
    for i, rows in enumerate(strong & (sd > 0).all(-1)):
        if rows.sum() < 3:
            continue
        (x, y), (sx, sy) = mean[i, rows].T, sd[i, rows].T
        parts[i] = Instruments(snp=np.flatnonzero(rows).astype(str), beta_exposure=x, se_exposure=sx,
                               beta_outcome=y, se_outcome=sy)  # fmt: skip
        ratios.append(float((y / x).mean()))
    rows = {m: local_and_global(parts, m, true, hartung_knapp=False) for m in OF_MEMBERS}
    if len(ratios) > 1:  # as published: the mean of the sequences' ratios and 2 sd of them
        half = 2 * float(np.std(ratios, ddof=1))
        middle = float(np.mean(ratios))
        rows[BASELINE] = (float(true.mean()), middle, np.nan, np.nan, half / 2, 0.0, 0.0)
    return {("deepmr", m): row for m, row in rows.items() if row is not None}


def of_draws(models: list[nn.Sequential], tested: Data, true: FloatArray) -> Rows:
    """Effects of members and masks, by the package's own ISM."""
    model = mcd.Model(models, outputs=OUTPUTS, input_shape=(4, LENGTH))
    effects = mcd.ism(
        model, one_hot(tested.codes), n_draws=N_MEMBERS * DRAWS_OF_MEMBER,
        options=mcd.MutationOptions(keep_draws=True), running=mcd.RunOptions(batch_size=3 * LENGTH),
    )  # fmt: skip
    used = instruments(effects, *OUTPUTS, score="diff", min_z=2, one_per_position=True)
    names = list(dict.fromkeys(used.sequence.tolist()))
    found = used.by_sequence()
    parts = {i: found[name] for i, name in enumerate(names) if name in found}
    rows = {m: local_and_global(parts, m, true, hartung_knapp=True) for m in OF_DRAWS}
    one = answer(used, n_bootstrap=N_BOOTSTRAP)
    rows[ANSWER] = (float(true.mean()), *[np.nan] * 4, 0.0, 0.0)
    if one.shown is not None:
        e = one.shown
        rows[ANSWER] = (float(true.mean()), e.estimate, e.ci_lower, e.ci_upper, np.nan, 0.0, 0.0)
    return {("draws", m): row for m, row in rows.items() if row is not None}


def one_dataset(task: tuple[Scenario, int, argparse.Namespace]) -> Rows:
    """Simulate, train, mutate, estimate."""
    scenario, seed, args = task
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    process = Process(scenario, seed)
    train = process.data(args.train)
    data = [train, process.variants(train, args.train // 4)]
    models = [trained(data, i, args.epochs, binary=scenario.binary) for i in range(N_MEMBERS)]
    tested = process.data(args.sequences, both_sites=True)
    true = process.true_slopes(tested)
    return of_members(models, process, tested, true) | of_draws(models, tested, true)


def summarized(rows: list[Row]) -> tuple[float, ...]:
    """What COLUMNS say."""
    true, estimate, lower, upper, tau, inside, n = np.array(rows).T
    some = np.isfinite(estimate)
    true, estimate, lower, upper, tau = (a[some] for a in (true, estimate, lower, upper, tau))
    if not some.any():
        return (np.nan,) * len(COLUMNS)
    error, large = estimate - true, true > SMALLEST_RELATIVE
    covered = np.where(np.isnan(lower), np.nan, (lower <= true) & (true <= upper))
    within = np.where(np.isnan(tau), np.nan, np.abs(error) <= 2 * tau)
    correlation = np.corrcoef(true, estimate)[0, 1] if some.sum() > 2 else np.nan
    relative = (error[large] / true[large]).mean() if large.any() else np.nan
    local = inside.sum() / n.sum() if n.sum() else np.nan
    return correlation, error.mean(), relative, covered.mean(), within.mean(), local


def printed(cells: tuple[float | None, ...]) -> str:
    texts = ["not found" if c is None else "-" if np.isnan(c) else f"{c:.2f}" for c in cells]
    return " | ".join(texts)


def print_scenario(name: str, found: list[Rows]) -> None:
    """Rows of the table of one scenario, with the published ones below."""
    for way, method in dict.fromkeys(key for rows in found for key in rows):
        rows = [r[way, method] for r in found if (way, method) in r]
        count = sum(np.isfinite(row[1]) for row in rows)
        cells = printed(summarized(rows))
        print(f"| {name} | {way}: {method} | {count} of {len(found)} | {cells} |", flush=True)
    for method, cells in PUBLISHED.get(name, {}).items():
        print(f"| {name} | *published: {method}* | 50 | {printed(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=4, help="of each scenario")
    parser.add_argument("--sequences", type=int, default=20, help="that are mutated, of a data set")
    parser.add_argument("--train", type=int, default=4000, help="sequences to train on")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="only to see that it runs")
    args = parser.parse_args()
    if args.quick:
        args.datasets, args.sequences, args.train, args.epochs = 2, 5, 2000, 4
    start = time.perf_counter()
    print(f"| scenario | method | data sets | {' | '.join(COLUMNS)} |")
    print("|---" * (3 + len(COLUMNS)) + "|", flush=True)
    tasks = [
        (scenario, 1000 * args.seed + i, args) for scenario in SCENARIOS for i in range(args.datasets)
    ]
    found: list[Rows] = []
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for rows in pool.imap(one_dataset, tasks):
            found.append(rows)
            if len(found) % args.datasets == 0:
                number = len(found) // args.datasets - 1
                print_scenario(SCENARIOS[number].name, found[-args.datasets :])
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
