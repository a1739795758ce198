"""Variant effects with uncertainty: locked Monte Carlo dropout for Kipoi models."""
