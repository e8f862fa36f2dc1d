"""Benchmarks: every implementation validated first, then timed in turns with its peers.

``python -m bench jet`` prints one table a case; ``python -m bench --help`` lists the rest. JAX is a
peer where it is installed (``pip install jax``); without it the table says that it is absent.
"""
