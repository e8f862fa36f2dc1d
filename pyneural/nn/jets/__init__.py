"""Taylor mode through any torch code: modules and functions with all their derivatives."""

from pyneural.nn.jets.functional import jet, jet_loss, jet_mean_square

__all__ = ["jet", "jet_loss", "jet_mean_square"]
