"""Estimators of the slope, one file each."""
