"""Adversarial models: a generator that is trained against a discriminator."""
