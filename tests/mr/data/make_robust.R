# Writes expected_robust.tsv: what R packages give for the robust methods.
#
#   Rscript make_robust.R DATA_FOLDER SOURCES OUT.tsv
#
# SOURCES has the source code of the packages, a folder each: MendelianRandomization 0.10.0 (CRAN),
# mr.raps 0.4.2 (CRAN or its repository), RadialMR 1.2.3 and TwoSampleMR 0.7.9 (their repositories). Their
# R files are read one by one, so that the packages that they need for figures (plotly, rmarkdown, ...)
# need not be there. robustbase, glmnet and numDeriv must be installed.
library(methods)
library(robustbase)
library(glmnet)

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
for (name in c("ivw_radial.R", "egger_radial.R", "format_radial.R")) {
  text <- readLines(file.path(sources, "RadialMR", "R", name))
  # Its bootstrap is for the standard error of another estimate, which is not kept.
  eval(parse(text = sub("sims = 1000", "sims = 2", text, fixed = TRUE)), globalenv())
}
twosamplemr <- new.env()
sys.source(file.path(sources, "TwoSampleMR", "R", "mr.R"), twosamplemr)

versions <- list(
  R = as.character(getRversion()), robustbase = as.character(packageVersion("robustbase")),
  MendelianRandomization = read.dcf(file.path(sources, "MendelianRandomization", "DESCRIPTION"))[, "Version"],
  mr.raps = read.dcf(file.path(sources, "mr.raps", "DESCRIPTION"))[, "Version"],
  RadialMR = read.dcf(file.path(sources, "RadialMR", "DESCRIPTION"))[, "Version"],
  TwoSampleMR = read.dcf(file.path(sources, "TwoSampleMR", "DESCRIPTION"))[, "Version"],
  glmnet = as.character(packageVersion("glmnet")), numDeriv = as.character(packageVersion("numDeriv"))
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
glmnet <- function(x, y, intercept) {
  glmnet::glmnet(x, y, intercept = intercept, thresh = 1e-20, maxit = 1e8)
}
# Both packages maximise their likelihood of n + 1 unknowns by Nelder and Mead's method, which for many
# instruments stops before the maximum. Here the same function is minimised to all digits: by Newton's
# method, with its derivatives by Richardson's extrapolation.
exact_optim <- function(par, fn, x = NULL, ...) {
  given <- list(...)
  value <- function(p) if (is.null(x)) fn(p) else do.call(fn, c(list(p, x = x), given))
  unit <- pmax(abs(par), 1e-3) / 100
  scaled <- function(z) as.numeric(value(z * unit))
  # First near it, then Newton's steps.
  z <- stats::optim(par / unit, scaled, method = "BFGS", control = list(maxit = 5000, reltol = 1e-14))$par
  for (i in 1:100) {
    if (i %% 10 == 1) hessian <- numDeriv::hessian(scaled, z)  # good for some steps
    step <- solve(hessian, numDeriv::grad(scaled, z))
    z <- z - step
    if (max(abs(step) / pmax(abs(z), 1)) < 1e-11) break
  }
  list(par = z * unit, value = scaled(z), hessian = numDeriv::hessian(scaled, z) / outer(unit, unit))
}
last <- list(arguments = NULL, found = NULL)  # "random" and "fixed" have one maximum
optim <- function(par, fn, ..., hessian = FALSE) {
  if (!hessian) return(stats::optim(par, fn, ...))
  given <- list(...)
  arguments <- c(list(par, fn), given[names(given) != "control"])
  if (!identical(arguments, last$arguments)) {
    last <<- list(arguments = arguments, found = do.call(exact_optim, arguments))
  }
  last$found
}
# TwoSampleMR calls stats::optim by its full name; its text is changed to call the function above.
exact_two_sample_ml <- twosamplemr$mr_two_sample_ml
body(exact_two_sample_ml) <- parse(text = gsub("stats::optim", "optim",
  deparse(body(exact_two_sample_ml)), fixed = TRUE))[[1]]
environment(exact_two_sample_ml) <- globalenv()
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
  for (t in c("normal", "t-dist")) {
    r <- mr_lasso(input, distribution = t)
    add(name, "MendelianRandomization", if (t == "normal") "mr_lasso" else "mr_lasso_tdist",
        estimate = r@Estimate, se = r@StdError, p_value = r@Pvalue, ci_lower = r@CILower,
        valid = match(r@ValidSNPs, d$SNP))
  }
  for (what in c("random", "fixed", "random_psi0.2")) {
    if (grepl("psi", what) && nrow(d) > 60) next  # takes minutes
    r <- mr_maxlik(input, model = sub("_.*", "", what), psi = if (grepl("psi", what)) 0.2 else 0)
    add(name, "MendelianRandomization", paste0("mr_maxlik_", what),
        estimate = r@Estimate, se = r@StdError, p_value = r@Pvalue, residual_se = r@RSE, q = r@Heter.Stat[1])
  }
  r <- exact_two_sample_ml(d$beta_exposure, d$beta_outcome, d$se_exposure, d$se_outcome)
  add(name, "TwoSampleMR", "mr_two_sample_ml", estimate = r$b, se = r$se, p_value = r$pval, q = r$Q)
  # As the package has it, by Nelder and Mead's method: for how far it is from the maximum.
  r <- twosamplemr$mr_two_sample_ml(d$beta_exposure, d$beta_outcome, d$se_exposure, d$se_outcome)
  add(name, "TwoSampleMR", "mr_two_sample_ml_default", estimate = r$b, se = r$se, q = r$Q)
  radial <- format_radial(d$beta_exposure, d$beta_outcome, d$se_exposure, d$se_outcome, d$SNP)
  for (weights in 1:3) {
    what <- c("first_order", "second_order", "modified")[weights]
    r <- ivw_radial(radial, alpha = 0.05, weights = weights, tol = 1e-14, summary = FALSE)
    add(name, "RadialMR", paste0("ivw_radial_", what), estimate = r$coef[1, 1], se = r$coef[1, 2],
        p_value = r$coef[1, 4], q = r$qstatistic, parts = if (weights == 3) r$data$Qj,
        outlier = which(r$data$Outliers == "Outlier"))
    e <- egger_radial(radial, alpha = 0.05, weights = weights, summary = FALSE)
    add(name, "RadialMR", paste0("egger_radial_", what), estimate = e$coef[2, 1], se = e$coef[2, 2],
        p_value = e$coef[2, 4], intercept = e$coef[1, 1], intercept_se = e$coef[1, 2],
        intercept_p = e$coef[1, 4], q = e$qstatistic, parts = if (weights == 3) e$data$Qj,
        outlier = which(e$data$Outliers == "Outlier"))
  }
  add(name, "RadialMR", "ivw_radial_iterated", estimate = r$coef[2, 1], se = r$coef[2, 2],
      p_value = r$coef[2, 4])
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
