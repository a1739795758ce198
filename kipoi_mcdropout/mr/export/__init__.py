"""Files for the R packages."""
