"""Perceptrons, dense and sparse; chains of matrix products; function approximation."""
