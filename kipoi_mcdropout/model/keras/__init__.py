"""Keras models: how their files are loaded on torch, those of Keras 2 too."""
