"""Networks compared on one task, after Canziani et al. 2016: accuracy and what it costs."""

from pyneural.experiments.networks.costs import BATCHES, cost
from pyneural.experiments.networks.memory import peak_memory
from pyneural.experiments.networks.state_space_classifier import StateSpaceClassifier
from pyneural.experiments.networks.zoo import NETWORKS, Network, train

__all__ = [
    "BATCHES",
    "NETWORKS",
    "Network",
    "StateSpaceClassifier",
    "cost",
    "peak_memory",
    "train",
]
