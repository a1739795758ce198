"""Tries one model of Kipoi's zoo with its real weights: dropout sites, predictions, engines.

    python benchmarks/zoo_model.py NAME [--source SOURCE] [--expect FILE]

It loads the model as the commands do, prints the audit, compares the predictions with dropout off with
those that the zoo keeps for tests (`test.expect` in model.yaml: inputs, and what the model gave in the
environment of its authors), and compares the two engines on substitutions of the first input.
The exit code is 1 if predictions or engines disagree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import kipoi
import numpy as np
from kipoi.readers import HDF5Reader

import kipoi_mcdropout as mcd
from kipoi_mcdropout.arrays.nested import leaves, take
from kipoi_mcdropout.errors import McDropoutError

N_INPUTS = 8
N_DRAWS = 4
MUTATED = 50  # positions
ROUNDING = 1e-5  # of the largest prediction: sums in another order, in float32
ENGINES_AGREE = 1e-5  # of the largest effect


def main(arguments: list[str] | None = None) -> int:
    """Run all checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("model")
    parser.add_argument("--source", default="kipoi")
    parser.add_argument("--expect", help="file of expected predictions, in place of the zoo's")
    options = parser.parse_args(arguments)
    model = mcd.load_kipoi_model(options.model, options.source)
    recorded = expected(model, options.expect, options.source)
    inputs = mcd.Model(model).example() if recorded is None else recorded["inputs"]
    print(mcd.audit(model, inputs))
    good = [recorded is None or same_predictions(model, recorded), same_engines(model, inputs)]
    return 0 if all(good) else 1


def expected(model: Any, file: str | None, source: str) -> dict[str, Any] | None:
    """The first inputs and predictions that the zoo keeps; None if it keeps none."""
    expect = file or getattr(model.test, "expect", None)
    if expect is None:
        print("predictions: the zoo keeps none to compare with")
        return None
    if not isinstance(expect, str):
        folder = Path(kipoi.get_source(source).get_model_download_dir(model.name))
        folder.mkdir(parents=True, exist_ok=True)
        expect = expect.get_file(str(folder / "test.expect.h5"))
    with HDF5Reader(expect) as reader:
        return next(reader.batch_iter(batch_size=N_INPUTS))


def same_predictions(model: Any, recorded: dict[str, Any]) -> bool:
    """Whether the model gives what it gave to its authors, to its decimals or to rounding."""
    ours = dict(leaves(model.predict_on_batch(recorded["inputs"])))
    theirs = dict(leaves(recorded["preds"]))
    largest = max(float(np.abs(x).max()) for x in theirs.values())
    allowed = max(1.5 * 10.0**-model.test.precision_decimal, ROUNDING * largest)
    pairs = zip(ours.values(), theirs.values(), strict=True)
    worst = max(float(np.abs(np.asarray(a).reshape(np.shape(b)) - b).max()) for a, b in pairs)
    good = worst <= allowed
    print(f"predictions: the largest difference from the zoo's is {worst:.2g} ({_judged(good)})")
    return good


def same_engines(model: Any, inputs: Any) -> bool:
    """Whether the effects of "auto" are those of "full"."""
    one = take(inputs, slice(0, 1))
    longest = max(size for _, x in leaves(one) for size in np.shape(x)[1:])
    options = mcd.MutationOptions(end=min(MUTATED, longest))
    try:
        auto, full = (
            mcd.ism(model, one, n_draws=N_DRAWS, options=options, running=mcd.RunOptions(engine=engine))
            for engine in ("auto", "full")
        )
    except McDropoutError as error:
        print(f"engines: not compared, {error}")
        return True
    a, b = (effects.table()["effect_mean"].to_numpy() for effects in (auto, full))
    worst = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
    good = worst < ENGINES_AGREE
    print(repr(auto).splitlines()[4].strip())
    print(f"engines: auto and full differ by {worst:.2g} of the largest effect ({_judged(good)})")
    return good


def _judged(good: bool) -> str:
    return "good" if good else "TOO LARGE"


if __name__ == "__main__":
    sys.exit(main())
