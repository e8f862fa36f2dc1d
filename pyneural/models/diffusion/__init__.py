"""Diffusion models and flow matching: samples by taking noise away, step by step."""
