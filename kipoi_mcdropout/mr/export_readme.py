"""The README that goes with an export: what each file is, and the R lines that load it.

The lines in the section headed `BASE_R` need nothing but R; the tests run them as they stand.
"""

from __future__ import annotations

from kipoi_mcdropout.mr.instruments import Instruments

BASE_R = "## MR-Egger from each file with nothing but R"

_PACKAGES = {
    "twosamplemr.tsv": """\
## TwoSampleMR (already harmonised: do not run harmonise_data() on it, which would drop A/T and C/G
## mutants)
library(TwoSampleMR)
dat <- read.delim("twosamplemr.tsv", check.names = FALSE)
mr(dat)
mr_heterogeneity(dat)
mr_pleiotropy_test(dat)
""",
    "mr_input.tsv": """\
## MendelianRandomization
library(MendelianRandomization)
d <- read.delim("mr_input.tsv")
input <- mr_input(bx = d$bx, bxse = d$bxse, by = d$by, byse = d$byse, snps = d$snps)
mr_egger(input)
mr_ivw(input)
""",
    "correlation_outcome.tsv": """\
## ... with the correlation of the outcome effects. It is matched by order, and must be invertible:
## that takes fewer instruments than draws.
rho <- as.matrix(read.delim("correlation_outcome.tsv", row.names = 1, check.names = FALSE))
stopifnot(identical(rownames(rho), as.character(d$snps)))
correlated <- mr_input(
  bx = d$bx, bxse = d$bxse, by = d$by, byse = d$byse, correlation = rho, snps = d$snps
)
mr_egger(correlated, correl = TRUE)
""",
    "radialmr.tsv": """\
## RadialMR
library(RadialMR)
r <- read.delim("radialmr.tsv")
radial <- format_radial(r$beta.exposure, r$beta.outcome, r$se.exposure, r$se.outcome, r$SNP)
ivw_radial(radial)
egger_radial(radial)
""",
    "mrpresso.tsv": """\
## MR-PRESSO
library(MRPRESSO)
p <- read.delim("mrpresso.tsv")
mr_presso(
  BetaOutcome = "Y_effect", BetaExposure = "E1_effect", SdOutcome = "Y_se", SdExposure = "E1_se",
  OUTLIERtest = TRUE, DISTORTIONtest = TRUE, data = p
)
""",
    "deepmr.csv": """\
## scripts written for deepmr (despite their names, the _var columns hold standard errors)
old <- read.csv("deepmr.csv", comment.char = "#")
""",
    "draws.parquet": """\
## effects of each draw
library(arrow)
draws <- read_parquet("draws.parquet")
""",
}

_EGGER = """\
egger <- function(bx, by, byse) {
  s <- ifelse(bx < 0, -1, 1)
  m <- summary(lm(I(by * s) ~ I(bx * s), weights = 1 / byse^2))
  c(m$coefficients[2, 1], m$coefficients[2, 2] / min(1, m$sigma))
}
show <- function(file, x) cat(file, sprintf("%.17g", x), sep = "\\t", fill = 200)
d <- read.delim("twosamplemr.tsv", check.names = FALSE)
d <- d[d$mr_keep, ]
show("twosamplemr.tsv", egger(d$beta.exposure, d$beta.outcome, d$se.outcome))
d <- read.delim("mr_input.tsv")
show("mr_input.tsv", egger(d$bx, d$by, d$byse))
d <- read.delim("radialmr.tsv")
show("radialmr.tsv", egger(d$beta.exposure, d$beta.outcome, d$se.outcome))
d <- read.delim("mrpresso.tsv")
show("mrpresso.tsv", egger(d$E1_effect, d$Y_effect, d$Y_se))
d <- read.csv("deepmr.csv", comment.char = "#")
show("deepmr.csv", egger(d$X_pred_mean, d$Y_pred_mean, d$Y_pred_var))
"""


def readme(instruments: Instruments, files: list[str], max_matrix: int) -> str:
    """Text of README.txt for the files that are written."""
    packages = "\n".join(text for name, text in _PACKAGES.items() if name in files)
    return "\n".join(
        [_head(instruments), _matrices(instruments, files, max_matrix), packages, BASE_R, _EGGER]
    )


def _head(instruments: Instruments) -> str:
    i = instruments
    uncertainty = {
        "sd": f"sd over {i.n_draws} draws (the model's uncertainty; more draws do not shrink it)",
        "mcse": f"Monte Carlo error of the mean of {i.n_draws} draws, sd / sqrt(n_draws)",
        None: "as given",
    }[i.se_type]
    return f"""\
Exposure: {i.exposure}
Outcome: {i.outcome}
Mutants: {len(i)}, of which {i.n_kept} are used (mr_keep); twosamplemr.tsv has all, with the reason
Effects: of the effect allele (ALT) against the other allele (REF), not oriented
Standard errors: {uncertainty}
What was done: provenance.json
"""


def _matrices(instruments: Instruments, files: list[str], max_matrix: int) -> str:
    lines = []
    if "covariance_xy.tsv" in files:
        lines.append(
            "covariance_xx.tsv, covariance_yy.tsv, covariance_xy.tsv: covariances over draws "
            "(ddof=1) of exposure "
            "effects,\noutcome effects, and exposure (rows) with outcome (columns). For means "
            "over draws divide by "
            f"{instruments.n_draws}."
        )
    elif "draws.parquet" in files:
        lines.append(
            f"No correlation and covariance files: over {max_matrix} instruments. "
            "They can be computed from draws.parquet."
        )
    n_draws = instruments.n_draws
    if "correlation_outcome.tsv" in files and n_draws and instruments.n_kept > n_draws - 1:
        lines.append(
            f"The correlations cannot be inverted: {instruments.n_kept} instruments, {n_draws} "
            "draws. "
            "MendelianRandomization will fail on them."
        )
    return "\n".join(lines) + ("\n" if lines else "")
