# Writes expected_meta_knha.tsv: metafor's rma() of sim_local_slopes.csv.
#
#   Rscript make_meta.R sim_local_slopes.csv OUT.tsv
library(metafor)
args <- commandArgs(TRUE)
d <- read.csv(args[1])
rows <- list()
for (method in c("DL", "REML", "PM")) for (test in c("z", "knha")) {
  r <- rma(d$estimate, sei = d$se, method = method, test = test, control = list(threshold = 1e-12, tol = 1e-12, maxiter = 10000))
  p <- predict(r, pi.type = "riley")  # t with k - 2 degrees of freedom
  rows[[length(rows) + 1]] <- data.frame(
    method = method, test = test, estimate = r$b[1], se = r$se, ci_lower = r$ci.lb, ci_upper = r$ci.ub,
    p = r$pval, tau2 = r$tau2, pi_lower = p$pi.lb, pi_upper = p$pi.ub
  )
}
out <- file(args[2], "w")
writeLines(paste("# R", getRversion(), "metafor", packageVersion("metafor")), out)
table <- do.call(rbind, rows)
for (name in names(table)[-(1:2)]) table[[name]] <- sprintf("%.17g", table[[name]])
write.table(table, out, sep = "\t", quote = FALSE, row.names = FALSE)
close(out)
