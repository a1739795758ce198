# Writes expected_robust.tsv: what R packages give for the robust methods.
#
#   Rscript make_robust.R DATA_FOLDER SOURCES OUT.tsv
#
# SOURCES has the source code of the packages, a folder each: MendelianRandomization 0.10.0 (CRAN),
# mr.raps 0.4.2 (CRAN or its repository). Their R files are read one by one, so that the packages that
# they need for figures (plotly, rmarkdown, ...) need not be there. robustbase must be installed.
library(methods)
library(robustbase)

args <- commandArgs(TRUE)
folder <- args[1]
sources <- args[2]
rnames <- c("1Data.R", "AllClasses.R", "AllGenerics.R", "ExtraFunctions.R", "new-methods.R", "getter-methods.R", "mr_ivw-methods.R",
            "mr_egger-methods.R", "mr_conmix-methods.R", "mr_lasso-methods.R", "mr_mvivw-methods.R",
            "mr_mvegger-methods.R", "mr_maxlik-methods.R")
for (name in rnames) {
  text <- readLines(file.path(sources, "MendelianRandomization", "R", name), warn = FALSE)
  eval(parse(text = text), globalenv())
}
for (name in c("loss.R", "core.R", "shrinkage.R")) source(file.path(sources, "mr.raps", "R", name))

versions <- list(
  R = as.character(getRversion()), robustbase = as.character(packageVersion("robustbase")),
  MendelianRandomization = read.dcf(file.path(sources, "MendelianRandomization", "DESCRIPTION"))[, "Version"],
  mr.raps = read.dcf(file.path(sources, "mr.raps", "DESCRIPTION"))[, "Version"]
)
# Resampling and convergence stricter than by default, so that the minimum is found to all digits.
strict <- lmrob.control(nResample = 5000, refine.tol = 1e-13, rel.tol = 1e-13, scale.tol = 1e-14,
                        k.max = 5000, max.it = 5000, maxit.scale = 5000, seed = NULL)
lmrob <- function(formula, weights, k.max, maxit.scale, ...) {
  environment(formula) <- environment()
  frame <- parent.frame()
  for (name in all.vars(formula)) assign(name, get(name, frame))
  robustbase::lmrob(formula, weights = weights, control = strict)
}
# The function that TwoSampleMR's mr_raps calls. Instead of the package rootSolve, Newton's method.
multiroot <- function(f, start) {
  x <- start
  for (i in 1:500) {
    value <- f(x)
    slope <- sapply(seq_along(x), function(j) {
      h <- 1e-6 * max(abs(x[j]), 1e-4) * (seq_along(x) == j)
      (f(x + h) - f(x - h)) / (2 * sum(h))
    })
    step <- tryCatch(solve(matrix(slope, length(x)), value), error = function(e) NA * x)
    if (anyNA(step)) break
    x <- x - step
    if (all(abs(step) <= 1e-15 + 1e-13 * abs(x))) return(list(root = x, estim.precis = sum(abs(step))))
  }
  list(root = NA * x, estim.precis = NA)
}
# Its constants, integrated between the kinks of the losses.
integrate <- function(f, lower, upper) {
  ends <- c(-Inf, -4.685, -1.345, 1.345, 4.685, Inf)
  list(value = sum(sapply(1:5, function(i) stats::integrate(f, ends[i], ends[i + 1], rel.tol = 1e-12)$value)))
}
rows <- list()
add <- function(dataset, package, method, ...) {  # a row per number
  for (field in names(list(...))) {
    values <- list(...)[[field]]
    for (i in seq_along(values)) {
      rows[[length(rows) + 1]] <<- data.frame(dataset = dataset, implementation = package, method = method,
        field = field, number = i, value = sprintf("%.17g", values[i]))
    }
  }
}
for (file in list.files(folder, "^(sim_mcdropout_sd|sim_two_groups|sim_direct_effects|ldl_chd)\\.csv$")) {
  name <- sub("\\.csv$", "", file)
  d <- read.csv(file.path(folder, file), colClasses = c(effect_allele = "character", other_allele = "character"))
  input <- mr_input(bx = d$beta_exposure, bxse = d$se_exposure, by = d$beta_outcome, byse = d$se_outcome,
                    snps = d$SNP)
  for (penalised in c(FALSE, TRUE)) for (robust in c(TRUE, FALSE)) {
    if (!penalised && !robust) next
    what <- paste0(if (penalised) "_penalized" else "", if (robust) "_robust" else "")
    set.seed(1)
    r <- mr_ivw(input, robust = robust, penalized = penalised)
    add(name, "MendelianRandomization", paste0("mr_ivw", what), estimate = r@Estimate, se = r@StdError,
        p_value = r@Pvalue, residual_se = r@RSE)
    set.seed(1)
    r <- mr_egger(input, robust = robust, penalized = penalised)
    add(name, "MendelianRandomization", paste0("mr_egger", what), estimate = r@Estimate,
        se = r@StdError.Est, p_value = r@Pvalue.Est, intercept = r@Intercept, intercept_se = r@StdError.Int,
        residual_se = r@RSE)
  }
  low <- min((d$beta_outcome - 2 * d$se_outcome) / d$beta_exposure)
  high <- max((d$beta_outcome + 2 * d$se_outcome) / d$beta_exposure)
  step <- max(0.01, (high - low) / 20000)
  r <- mr_conmix(input, CIStep = step)
  add(name, "MendelianRandomization", "mr_conmix", estimate = r@Estimate, p_value = r@Pvalue, psi = r@Psi,
      ci_lower = r@CILower, ci_upper = r@CIUpper, valid = r@Valid, step = step)
  for (over in c(FALSE, TRUE)) for (loss in c("l2", "huber", "tukey")) {
    set.seed(1)
    r <- suppressWarnings(mr.raps.shrinkage(d$beta_exposure, d$beta_outcome, d$se_exposure, d$se_outcome,
                                            over, loss, shrinkage = FALSE, multiple.root.warning = 0))
    add(name, "mr.raps", paste0("mr.raps", if (over) "_overdispersed" else "", "_", loss),
        estimate = r$beta.hat, se = r$beta.se, tau2 = r$tau2.hat)
  }
  # Multivariable: the second exposure is made here, so that it is the same everywhere.
  n <- nrow(d)
  second <- d$beta_exposure * cos(seq_len(n)) + d$se_exposure * sin(3 * seq_len(n))
  mv <- mr_mvinput(bx = cbind(d$beta_exposure, second), bxse = cbind(d$se_exposure, d$se_exposure),
                   by = d$beta_outcome, byse = d$se_outcome)
  r <- mr_mvivw(mv)
  add(name, "MendelianRandomization", "mr_mvivw", estimates = r@Estimate, ses = r@StdError,
      ps = r@Pvalue, q = r@Heter.Stat[1], q_p = r@Heter.Stat[2])
  r <- mr_mvegger(mv)
  add(name, "MendelianRandomization", "mr_mvegger", estimates = r@Estimate, ses = r@StdError.Est,
      ps = r@Pvalue.Est, intercept = r@Intercept, intercept_se = r@StdError.Int, q = r@Heter.Stat[1])
}
out <- file(args[3], "w")
writeLines(paste("#", paste(names(versions), unlist(versions), collapse = ", ")), out)
write.table(do.call(rbind, rows), out, sep = "\t", quote = FALSE, row.names = FALSE)
close(out)
