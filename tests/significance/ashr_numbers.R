# Writes ashr_numbers.json: effects, and what the R package ashr makes of them, for test_shrinkage.py.
# Needs the packages ashr and jsonlite-free base R alone:  Rscript tests/significance/ashr_numbers.R
# The numbers were made with ashr 2.2-65 and mixsqp 0.3-48, R 4.2.2.
library(ashr)
set.seed(1)
normal <- function(b, s) rnorm(length(b), b, s)
some <- rep(c(0.5, 1), 25)
wide <- 10^runif(80, -4, 0)
cases <- list(
  some_zero = list(x = normal(c(rep(0, 30), rnorm(20, 0, 2)), some), s = some),
  all_zero = list(x = normal(rep(0, 50), some), s = some),
  none_zero = list(x = normal(rnorm(50, 0, 3), some), s = some),
  wide_sd = list(x = normal(c(rep(0, 40), rnorm(40, 0, 0.1)), wide), s = wide),
  below_their_sd = list(x = some * seq(-0.9, 0.9, length.out = 50), s = some)
)
numbers <- function(x) paste0("[", paste(format(x, digits = 15, trim = TRUE), collapse = ", "), "]")
texts <- sapply(names(cases), function(name) {
  case <- cases[[name]]
  # Solved further than by default, so that the numbers do not depend on where the solver stops.
  fit <- ash(case$x, case$s, mixcompdist = "normal",
             control = list(eps = 1e-12, convtol.sqp = 1e-12, maxiter.sqp = 10000))
  paste0('"', name, '": {"effect": ', numbers(case$x), ',\n "sd": ', numbers(case$s),
    ',\n "posterior_mean": ', numbers(get_pm(fit)), ',\n "posterior_sd": ', numbers(get_psd(fit)),
    ',\n "lfsr": ', numbers(get_lfsr(fit)), ',\n "grid": ', numbers(fit$fitted_g$sd),
    ',\n "log_likelihood": ', format(get_loglik(fit), digits = 15), "}")
})
path <- file.path("tests", "significance", "ashr_numbers.json")
writeLines(paste0("{\n", paste(texts, collapse = ",\n"), "\n}"), path)
