"""The genome browser of a report: its regions, its tracks, and igv.js, which draws them."""
