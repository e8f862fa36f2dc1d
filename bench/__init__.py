"""Benchmarks: every implementation validated first, then timed in turns with its peers.

``python -m bench jet`` prints one table a case; ``python -m bench --help`` lists the rest.
"""
