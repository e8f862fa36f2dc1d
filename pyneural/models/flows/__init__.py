"""Normalizing flows: densities that are exact, and samples from them; names and keys of zuko."""
