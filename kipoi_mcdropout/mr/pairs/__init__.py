"""Mutants as instruments: their arrays, selection and correlation."""
