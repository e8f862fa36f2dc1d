"""Transformers: translation, and regression on time series."""
