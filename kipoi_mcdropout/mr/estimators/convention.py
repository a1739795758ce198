"""The differences between TwoSampleMR and MendelianRandomization, and the choice of one of them.

| | twosamplemr | mendelianrandomization |
|---|---|---|
| MR-Egger p and interval | t with n - 2 degrees of freedom | normal |
| weighted and penalised median, weights | second-order delta method | first-order |
| mode p and interval | t with n - 1 degrees of freedom | normal |
| IVW with 2 or 3 instruments | random effects | fixed effect |
| I2_GX | of beta_exposure | of beta_exposure / se_outcome |

Both take a standard error of MR-Egger and of random-effects IVW as at least that of fixed effects:
``se / min(1, residual_se)``. Their other numbers agree.
"""

from __future__ import annotations

from typing import Literal

from kipoi_mcdropout.errors import InputError

Convention = Literal["twosamplemr", "mendelianrandomization"]
CONVENTIONS: tuple[Convention, ...] = ("twosamplemr", "mendelianrandomization")


def check_convention(convention: str) -> None:
    """Raise InputError unless `convention` is one of the two."""
    if convention not in CONVENTIONS:
        raise InputError(f"convention must be one of {CONVENTIONS}; got {convention!r}.")
