"""Masks, dropout sites, and the forward pass under locked masks."""
