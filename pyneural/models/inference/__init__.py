"""Inference of a simulator's parameters."""
