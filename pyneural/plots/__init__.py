"""Figures, one function for each; they need matplotlib: pip install 'pyneural[plot]'.

Each function returns a matplotlib figure, which ``save`` writes, and raises ImportError if
matplotlib is missing.
"""

from pyneural.plots.activations import activations
from pyneural.plots.approximation import approximation
from pyneural.plots.attention_maps import attention_maps
from pyneural.plots.backpropagation import backpropagation
from pyneural.plots.latent_planes import latent_planes
from pyneural.plots.learning_curves import learning_curves
from pyneural.plots.long_lag import long_lag
from pyneural.plots.loss_gallery import loss_gallery
from pyneural.plots.losses import losses
from pyneural.plots.matrices import matrices
from pyneural.plots.model_choice import model_choice
from pyneural.plots.predictions import predictions
from pyneural.plots.reconstructions import reconstructions
from pyneural.plots.sequence_tasks import sequence_tasks
from pyneural.plots.space_time import space_time
from pyneural.plots.sparsity import sparsity
from pyneural.plots.state_space import state_space
from pyneural.plots.style import check_installed, save, scientific
from pyneural.plots.translation import translation

__all__ = [
    "activations",
    "approximation",
    "attention_maps",
    "backpropagation",
    "check_installed",
    "latent_planes",
    "learning_curves",
    "long_lag",
    "loss_gallery",
    "losses",
    "matrices",
    "model_choice",
    "predictions",
    "reconstructions",
    "save",
    "scientific",
    "sequence_tasks",
    "space_time",
    "sparsity",
    "state_space",
    "translation",
]
