"""Curves of a training, and what they say."""
