"""Autoencoders: networks that reproduce their input through a low-dimensional latent vector."""
