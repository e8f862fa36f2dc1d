"""Perceptrons, dense and sparse, and networks as chains of matrix products."""
