"""Residuals in Python: recorded as programs or evaluated with tensors, both with derivatives."""
