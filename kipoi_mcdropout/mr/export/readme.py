"""The README that goes with an export: what each file is, and the R lines that load it.

The lines in the section headed `BASE_R` need only R; the tests run them unchanged. `colClasses`
names every text column, because R would turn alleles that are all T into TRUE, and a contig 01 into 1.
Missing values are empty fields, so that an output with the name NA stays a text.
"""

from __future__ import annotations

import json

from kipoi_mcdropout.mr.pairs.instruments import Instruments

_SHOWN = 5
BASE_R = "## MR-Egger from each file, with plain R"

# The columns of texts of each file.
TEXTS = {
    "twosamplemr.tsv": (
        "SNP", "id.exposure", "id.outcome", "exposure", "outcome", "effect_allele.exposure",
        "effect_allele.outcome", "other_allele.exposure", "other_allele.outcome", "reason", "se_type",
        "sequence",
    ),
    "mr_input.tsv": ("snps", "effect_allele", "other_allele"),
    "radialmr.tsv": ("SNP",),
    "mrpresso.tsv": ("SNP",),
}  # fmt: skip


def _r_line(variable: str, file: str) -> str:
    """R that reads one of our files: its texts as texts, an empty field as missing."""
    classes = [f'{name} = "character"' for name in TEXTS[file]]
    if len(classes) == 1:
        end = f"colClasses = c({classes[0]}))"
        return f'{variable} <- read.delim("{file}", na.strings = "", {end}'
    lines = ",\n".join(f"  {', '.join(classes[i : i + 3])}" for i in range(0, len(classes), 3))
    options = 'check.names = FALSE, na.strings = ""'
    return f'{variable} <- read.delim("{file}", {options}, colClasses = c(\n{lines}\n))'


_PACKAGES = {
    "twosamplemr.tsv": f"""\
## TwoSampleMR (already harmonised: do not run harmonise_data(), which would drop A/T and C/G
## mutants)
library(TwoSampleMR)
{_r_line("dat", "twosamplemr.tsv")}
mr(dat)
mr_heterogeneity(dat)
mr_pleiotropy_test(dat)
""",
    "mr_input.tsv": f"""\
## MendelianRandomization
library(MendelianRandomization)
{_r_line("d", "mr_input.tsv")}
input <- mr_input(bx = d$bx, bxse = d$bxse, by = d$by, byse = d$byse, snps = d$snps)
mr_egger(input)
mr_ivw(input)
""",
    "correlation_outcome.tsv": """\
## ... with the correlation of the outcome effects. Its rows are matched by order. It must have an
## inverse: there must be fewer instruments than draws.
rho <- as.matrix(read.delim("correlation_outcome.tsv", row.names = 1, check.names = FALSE))
stopifnot(identical(rownames(rho), d$snps))
correlated <- mr_input(
  bx = d$bx, bxse = d$bxse, by = d$by, byse = d$byse, correlation = rho, snps = d$snps
)
mr_egger(correlated, correl = TRUE)
""",
    "radialmr.tsv": f"""\
## RadialMR
library(RadialMR)
{_r_line("r", "radialmr.tsv")}
radial <- format_radial(r$beta.exposure, r$beta.outcome, r$se.exposure, r$se.outcome, r$SNP)
ivw_radial(radial)
egger_radial(radial)
""",
    "mrpresso.tsv": f"""\
## MR-PRESSO
library(MRPRESSO)
{_r_line("p", "mrpresso.tsv")}
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

_EGGER = f"""\
egger <- function(bx, by, byse) {{
  s <- ifelse(bx < 0, -1, 1)
  m <- summary(lm(I(by * s) ~ I(bx * s), weights = 1 / byse^2))
  c(m$coefficients[2, 1], m$coefficients[2, 2] / min(1, m$sigma))
}}
show <- function(file, x) cat(file, sprintf("%.17g", x), sep = "\\t", fill = 200)
{_r_line("d", "twosamplemr.tsv")}
d <- d[d$mr_keep, ]
show("twosamplemr.tsv", egger(d$beta.exposure, d$beta.outcome, d$se.outcome))
{_r_line("d", "mr_input.tsv")}
show("mr_input.tsv", egger(d$bx, d$by, d$byse))
{_r_line("d", "radialmr.tsv")}
show("radialmr.tsv", egger(d$beta.exposure, d$beta.outcome, d$se.outcome))
{_r_line("d", "mrpresso.tsv")}
show("mrpresso.tsv", egger(d$E1_effect, d$Y_effect, d$Y_se))
d <- read.csv("deepmr.csv", comment.char = "#")
show("deepmr.csv", egger(d$X_pred_mean, d$Y_pred_mean, d$Y_pred_var))
"""


_GENAL = """\
genal_exposure.tsv, genal_outcome.tsv: for genal (Python), with columns SNP CHR POS EA NEA BETA SE P EAF.
EAF is empty: mutants have no frequency.
"""


def readme(instruments: Instruments, files: list[str], max_matrix: int) -> str:
    """Text of README.txt for the files that are written."""
    packages = "\n".join(text for name, text in _PACKAGES.items() if name in files)
    return "\n".join(
        [_head(instruments), _GENAL, _matrices(instruments, files, max_matrix), packages, BASE_R, _EGGER]
    )


def sequences_of(instruments: Instruments) -> list[str]:
    """Names of the sequences that the mutants lie in, in order; none where they are not known."""
    return [] if instruments.sequence is None else list(dict.fromkeys(instruments.sequence.astype(str)))


def _head(instruments: Instruments) -> str:
    i = instruments
    draws, formula = f"{i.n_draws} draws", ", sd / sqrt(n_draws)"
    if i.n_members == 1 and i.has_both_spreads:
        draws = f"{draws} or more of each mutant"
    if i.n_members > 1:
        draws, formula = f"{draws} of {i.n_members} members", ""
    uncertainty = {
        "sd": f"sd over {draws} (the model's uncertainty; more draws do not shrink it)",
        "mcse": f"Monte Carlo error of the mean of {draws}{formula}",
        None: "as given",
    }[i.se_type]
    sequences = sequences_of(i)
    return f"""\
Exposure: {_written(i.exposure)}
Outcome: {_written(i.outcome)}
Sequence{"s" if len(sequences) > 1 else ""}: {_written_list(sequences)}
Mutants: {len(i)}, of which {i.n_kept} are used (mr_keep); twosamplemr.tsv has all, with the reason
Effects: of the effect allele (ALT) against the other allele (REF), not oriented
Standard errors: {uncertainty}
What was done: provenance.json
"""


def _written(name: str) -> str:
    """A name on one line: as it is, or as JSON where it has line ends, or spaces at its ends."""
    return name if name.isprintable() and name == name.strip() and name else json.dumps(name)


def _written_list(names: list[str]) -> str:
    if not names:
        return "not known"
    shown = ", ".join(_written(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, ... ({len(names)} in all)"


def _matrices(instruments: Instruments, files: list[str], max_matrix: int) -> str:
    lines = []
    if "covariance_xy.tsv" in files:
        lines.append(
            "covariance_xx.tsv, covariance_yy.tsv, covariance_xy.tsv: covariances over draws "
            "(ddof=1) of exposure "
            "effects,\noutcome effects, and exposure (rows) with outcome (columns). "
            + (
                f"For means over draws divide by {instruments.n_draws}."
                if instruments.n_members == 1
                else f"The draws are of {instruments.n_members} members\n(draw t is of member t mod "
                f"{instruments.n_members}): the matrices are those of a draw of a random member, "
                "within and\nbetween members; for means over draws do not divide by their number."
            )
        )
    elif "draws.parquet" in files:
        lines.append(
            f"No correlation and covariance files: over {max_matrix} instruments. "
            "They can be computed from draws.parquet."
        )
    of_members = instruments.n_members > 1 and instruments.se_type == "mcse"
    n, what = (instruments.n_members, "members") if of_members else (instruments.n_draws, "draws")
    if of_members and "correlation_outcome.tsv" in files:
        lines.append("The correlations are those of the means of the members, as the mcse is.")
    if "correlation_outcome.tsv" in files and n and instruments.n_kept > n - 1:
        lines.append(
            f"The matrix of correlations has no inverse: {instruments.n_kept} instruments, {n} {what}. "
            "MendelianRandomization will fail on them."
        )
    return "\n".join(lines) + ("\n" if lines else "")
