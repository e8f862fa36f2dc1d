"""Taylor mode through any torch code: modules and functions with all their derivatives."""

from pyneural.nn.jets.functional import jet, jet_loss

__all__ = ["jet", "jet_loss"]
