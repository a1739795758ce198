"""Would sparse products pay where few channels differ? A product of rows with weights, dense and as CSR.

    OMP_NUM_THREADS=1 python benchmarks/sparse_products.py

A convolution multiplies the same rows once for each of its taps, so its rows are brought into CSR once.
"""

from __future__ import annotations

import timeit
import warnings
from collections.abc import Callable

import torch

SIZES = ((8000, 64, 96, 7), (4000, 320, 480, 8))  # rows, channels in and out, taps
DENSITIES = (0.04, 0.12)


def milliseconds(function: Callable[[], object], n: int = 5) -> float:
    """The best of three runs."""
    function()
    return 1e3 * min(timeit.repeat(function, number=n, repeat=3)) / n


def main() -> None:
    warnings.filterwarnings("ignore", "Sparse CSR tensor support")
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    head = f"{'rows':>6}{'in':>5}{'out':>5}{'differ':>8}{'dense, ms':>11}{'CSR':>8}{'to make it':>12}"
    print(f"{head}{'all taps':>10}{'columns of 64 rows':>20}")
    for rows, n_in, n_out, taps in SIZES:
        weight = torch.rand(n_in, n_out, generator=generator)
        for density in DENSITIES:
            x = torch.rand(rows, n_in, generator=generator)
            x = x * (torch.rand(rows, n_in, generator=generator) < density)
            sparse = x.to_sparse_csr()
            dense = milliseconds(lambda: x @ weight)  # noqa: B023
            product = milliseconds(lambda: sparse @ weight)  # noqa: B023
            making = milliseconds(x.to_sparse_csr)
            gain = taps * dense / (taps * product + making)
            columns = (x[:64] != 0).any(0).float().mean().item()
            print(
                f"{rows:6}{n_in:5}{n_out:5}{density:8.2f}{dense:11.2f}{product:8.2f}{making:12.2f}"
                f"{gain:9.1f}x{columns:20.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
