"""What bfloat16 rounds, on the trained example model: effects and their sd against those in float32.

    python benchmarks/bfloat16.py

ISM of 100 positions about the middle of the first five peaks of the example, 30 draws, engine full.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

import kipoi_mcdropout as mcd

EXAMPLE = Path(__file__).parents[1] / "example"
WINDOW = mcd.MutationOptions(200, 300)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        regions = Path(folder) / "peaks.bed"
        peaks = (EXAMPLE / "data" / "peaks.bed").read_text().splitlines()[:5]
        regions.write_text("\n".join(peaks) + "\n")
        for dtype in ("float32", "bfloat16"):
            model = mcd.load_model(EXAMPLE / "model", dtype=dtype)
            begin = time.process_time()
            effects = mcd.ism(
                model, fasta=EXAMPLE / "data" / "genome.fa", regions=regions, n_draws=30, seed=0,
                options=WINDOW, running=mcd.RunOptions(engine="full"),
            )  # fmt: skip
            tables[dtype] = effects.table()
            print(f"{dtype}: {time.process_time() - begin:.1f} s of the processor")
            if "dtype_check" in effects.provenance:
                print(effects.provenance["dtype_check"])
    print("output  |effect|: median  95 %  sd: median  error of effect_mean: rms, of sd: rms  ", end="")
    print("correlation of effects  counted as rounding: float32  bfloat16")
    for output, exact in tables["float32"].groupby("output"):
        rounded = tables["bfloat16"].query("output == @output")
        size = exact["effect_mean"].abs()
        error = rms(rounded["effect_mean"].to_numpy() - exact["effect_mean"].to_numpy())
        error_of_sd = rms(rounded["effect_sd"].to_numpy() - exact["effect_sd"].to_numpy())
        correlation = np.corrcoef(rounded["effect_mean"], exact["effect_mean"])[0, 1]
        as_rounding = [(table["prob_positive"] == 0.5).mean() for table in (exact, rounded)]
        numbers = [
            size.median(), size.quantile(0.95), exact["effect_sd"].median(), error, error_of_sd
        ]  # fmt: skip
        shares = "  ".join(f"{share:.0%}" for share in as_rounding)
        said = "  ".join(f"{number:.1e}" for number in numbers)
        print(f"{output}  {said}  {correlation:.5f}  {shares}")


if __name__ == "__main__":
    main()
