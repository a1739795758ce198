"""How often a 95 % interval of the slope holds the slope that was planted.

    python benchmarks/mr_coverage.py [--datasets 400] [--n-bootstrap 500] [--seed 0] [--answer]
        [--scenario TEXT]

Prints a table, a row per scenario and method: coverage (its Monte Carlo error is 1.1 % at 95 % and
400 data sets), mean length of the interval, and mean error of the estimate, both in units of the
slope. --scenario takes those with this text in their name; their data sets are the same as in a whole
run. With --answer the rows are of the answer that is shown first (`mr.answer`): in which share of the
data sets it gives a number, and how often the interval of this number holds the slope.

Each data set is a last layer with dropout (p = 0.5, locked) over hidden units, 60 mutants, and two
outputs. Unit h carries a[j, h] of the exposure effect of mutant j and b[j, h] of its outcome
effect, so in draw t the effects are ``sum_h 2 m[t, h] a[j, h]`` and the same with b. The sums over
units are the true effects, and those of the outcome are 0.5 times those of the exposure, plus a
direct effect in the scenarios that say so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import Instruments, answer, mr_estimate

SLOPE = 0.5
N_MUTANTS = 60
EFFECT_SD = 0.1
LEAST_DATASETS = 10  # of fewer no coverage is printed

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """`noise`: sd over draws of an effect, in units of the effects' own sd, beside what all share."""

    name: str
    n_draws: int = 100
    n_units: int = 64
    noise: float = 1.0
    n_sites: int = N_MUTANTS  # mutants of a site act through the same units
    locked: bool = True  # else every mutant has masks of its own, as if dropout were not locked
    coupled: bool = False  # a unit's exposure noise goes into the outcome too, with another slope
    direct: float = 0.0  # sd of direct effects on the outcome, in units of slope * effects' sd
    minority: float = 0.0  # share of mutants that are pleiotropic, each by the next field
    minority_ratio: float = 0.0  # direct effect in units of slope * their own exposure effect
    minority_push: float = 0.0  # direct effect towards the exposure's side, as `direct`


SCENARIOS = (
    Scenario("mutants of 3 sites", n_sites=3),
    Scenario("mutants of 12 sites", n_sites=12),
    Scenario("12 sites, 30 draws", n_sites=12, n_draws=30),
    Scenario("12 sites, weak: noise x 3", n_sites=12, noise=3.0),
    Scenario("every mutant a site"),
    Scenario("masks not locked", locked=False),
    Scenario("coupled noise x 2", n_sites=12, noise=2.0, coupled=True),
    Scenario("12 sites, direct effects", n_sites=12, direct=0.5),
)
# The same, and mutants that are not valid instruments.
PLEIOTROPIC = (
    Scenario("12 sites, small direct effects", n_sites=12, direct=0.1),
    Scenario("30 % have a ratio 2.4 times as large", n_sites=12, minority=0.3, minority_ratio=1.4),
    Scenario("10 % have a ratio 2.4 times as large", n_sites=12, minority=0.1, minority_ratio=1.4),
    Scenario("30 % have a ratio 1.3 times as large", n_sites=12, minority=0.3, minority_ratio=0.3),
    Scenario("30 % have no effect on the outcome", n_sites=12, minority=0.3, minority_ratio=-1.0),
    Scenario("30 % pushed one way", n_sites=12, minority=0.3, minority_push=1.0),
    Scenario("30 %, and direct effects", n_sites=12, direct=0.5, minority=0.3, minority_ratio=1.4),
)
METHODS = (
    ("egger", "sd"),
    ("egger", "mcse"),
    ("egger_correlated", "mcse"),
    ("ivw", "sd"),
    ("ivw", "mcse"),
    ("egger_bootstrap_draws", "sd"),
    ("egger_bootstrap_both", "sd"),
    ("ivw_bootstrap_draws", "sd"),
    ("ivw_bootstrap_both", "sd"),
)


def unit_noise(rng: np.random.Generator, scenario: Scenario, effect: FloatArray) -> FloatArray:
    """Parts of units, shape=(mutants, units), that sum to 0 and give the scenario's sd over draws.

    Mutants of one site have one profile over units, times their own effect: a mutation that breaks a
    motif twice as much changes twice as much what each unit makes of it.
    """
    site = np.arange(N_MUTANTS) % scenario.n_sites
    profile = rng.normal(size=(scenario.n_sites, scenario.n_units))
    profile -= profile.mean(axis=1, keepdims=True)
    size = np.full(N_MUTANTS, EFFECT_SD) if scenario.n_sites == N_MUTANTS else effect
    # the variance over draws of sum_h 2 m_h a_h with p = 0.5 is sum_h a_h**2
    return scenario.noise * size[:, None] * profile[site] / np.sqrt(scenario.n_units)


def simulate(scenario: Scenario, rng: np.random.Generator) -> Instruments:
    """One data set, with its draws."""
    s = scenario
    effect = rng.normal(0, EFFECT_SD, N_MUTANTS)
    outcome = SLOPE * effect + s.direct * SLOPE * EFFECT_SD * rng.normal(size=N_MUTANTS)
    invalid = rng.random(N_MUTANTS) < s.minority
    outcome += SLOPE * invalid * (
        s.minority_ratio * effect + s.minority_push * EFFECT_SD * np.sign(effect) * rng.random(N_MUTANTS)
    )
    a_noise, b_noise = unit_noise(rng, s, effect), SLOPE * unit_noise(rng, s, effect)
    a = effect[:, None] / s.n_units + a_noise
    b = outcome[:, None] / s.n_units + (2 * SLOPE * a_noise if s.coupled else b_noise)
    if s.locked:
        kept = 2.0 * rng.integers(2, size=(s.n_draws, s.n_units))
        x, y = kept @ a.T, kept @ b.T
    else:
        own = 2.0 * rng.integers(2, size=(s.n_draws, N_MUTANTS, s.n_units))
        x, y = (own * a).sum(axis=2), (own * b).sum(axis=2)
    return Instruments(
        snp=np.array([f"m{i}" for i in range(N_MUTANTS)]),
        beta_exposure=x.mean(0),
        se_exposure=x.std(0, ddof=1),
        beta_outcome=y.mean(0),
        se_outcome=y.std(0, ddof=1),
        se_type="sd",
        draws_exposure=x,
        draws_outcome=y,
    )


def coverage(
    scenario: Scenario, n_datasets: int, n_bootstrap: int, seed: int
) -> Iterator[tuple[str, str, float, float, float]]:
    """For each method: name, se type, coverage, mean length, mean error."""
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    found: dict[tuple[str, str], list[tuple[bool, float, float]]] = {m: [] for m in METHODS}
    for number in range(n_datasets):
        sd = simulate(scenario, rng)
        forms = {"sd": sd, "mcse": sd.with_se_type("mcse")}
        for name, se_type in METHODS:
            try:
                e = mr_estimate(forms[se_type], name, n_bootstrap=n_bootstrap, seed=number)
            except InputError:  # more instruments than draws - 1
                continue
            inside = e.ci_lower <= SLOPE <= e.ci_upper
            found[name, se_type].append((inside, e.ci_upper - e.ci_lower, e.estimate - SLOPE))
    for (name, se_type), rows in found.items():
        if rows:
            mean = np.mean(np.array(rows, dtype=float), axis=0)
            yield name, se_type, float(mean[0]), float(mean[1]), float(mean[2])


def answers(
    scenario: Scenario, n_datasets: int, n_bootstrap: int, seed: int
) -> tuple[dict[str, int], list[tuple[bool, float, float]]]:
    """How often each kind of answer came, and of the numbers: coverage, length and error."""
    rng = np.random.default_rng([seed, (*SCENARIOS, *PLEIOTROPIC).index(scenario)])
    kinds: dict[str, int] = {}
    found = []
    for number in range(n_datasets):
        a = answer(simulate(scenario, rng), n_bootstrap=n_bootstrap, seed=number)
        kinds[a.kind] = kinds.get(a.kind, 0) + 1
        if a.shown is not None:
            e = a.shown
            inside = e.ci_lower <= SLOPE <= e.ci_upper
            found.append((inside, e.ci_upper - e.ci_lower, e.estimate - SLOPE))
    return kinds, found


def print_answers(args: argparse.Namespace) -> None:
    """A row per scenario."""
    print("| scenario | one number | groups | other | coverage | length | error |")
    print("|---|---|---|---|---|---|---|")
    for scenario in (*SCENARIOS, *PLEIOTROPIC):
        if args.scenario not in scenario.name:
            continue
        kinds, found = answers(scenario, args.datasets, args.n_bootstrap, args.seed)
        shares = [kinds.get(k, 0) / args.datasets for k in ("one_number", "groups")]
        shares.append(1 - sum(shares))
        enough = len(found) >= LEAST_DATASETS
        mean = np.mean(np.array(found, dtype=float), axis=0) if enough else None
        numbers = "- | - | -" if mean is None else f"{mean[0]:.3f} | {mean[1]:.3f} | {mean[2]:+.3f}"
        shown = " | ".join(f"{share:.3f}" for share in shares)
        print(f"| {scenario.name} | {shown} | {numbers} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=400)
    parser.add_argument("--n-bootstrap", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenario", default="", help="only scenarios with this text in their name")
    parser.add_argument("--answer", action="store_true", help="of the answer that is shown first")
    args = parser.parse_args()
    if args.answer:
        print_answers(args)
        return
    print("| scenario | method | se | coverage | length | error |")
    print("|---|---|---|---|---|---|")
    for scenario in SCENARIOS:
        if args.scenario not in scenario.name:
            continue
        for name, se_type, share, length, error in coverage(
            scenario, args.datasets, args.n_bootstrap, args.seed
        ):
            se = "-" if "bootstrap" in name else se_type
            print(
                f"| {scenario.name} | {name} | {se} | {share:.3f} | {length:.3f} | {error:+.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
