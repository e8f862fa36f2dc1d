"""Figures, one function for each; they need matplotlib: pip install 'pyneural[plot]'.

Each function returns a matplotlib figure, which ``save`` writes, and raises ImportError if
matplotlib is missing.
"""

from pyneural.plots.adversarial import (
    SamplesOverTime,
    Saturations,
    adversarial_images,
    adversarial_plane,
)
from pyneural.plots.attention import attention_maps, translation
from pyneural.plots.autoencoders import latent_planes, reconstructions
from pyneural.plots.classified_images import classified_images
from pyneural.plots.comparison import Measure, comparison
from pyneural.plots.curves import learning_curves, long_lag, loss_gallery, losses, model_choice
from pyneural.plots.dense_layers import dense_layer
from pyneural.plots.diffusion import Panel, image_diffusion, image_samples
from pyneural.plots.domains import domain
from pyneural.plots.explanations import explanations
from pyneural.plots.flows import PlaneDensity, densities, image_density, pairwise
from pyneural.plots.functions import activations, approximation
from pyneural.plots.identification import Identified, identification
from pyneural.plots.latent_priors import latent_priors
from pyneural.plots.latent_variables import latent_variables
from pyneural.plots.network_costs import NetworkCost, network_costs
from pyneural.plots.networks import backpropagation, matrices, sparsity
from pyneural.plots.posteriors import posteriors
from pyneural.plots.regimes import Fits, regimes
from pyneural.plots.restored_images import restored_images
from pyneural.plots.samplers import PlaneSamples, plane_samples
from pyneural.plots.sequence_tasks import sequence_tasks
from pyneural.plots.series import predictions, state_space
from pyneural.plots.solutions import solution_curves, solution_fields
from pyneural.plots.space_time import space_time
from pyneural.plots.style import check_installed, save, scientific
from pyneural.plots.sweeps import SweepPanel, sweeps
from pyneural.plots.unequal_groups import GroupErrors, UnequalGroups, unequal_groups
from pyneural.plots.ways_to_solution import ways_to_solution

__all__ = [
    "Fits",
    "GroupErrors",
    "Identified",
    "Measure",
    "NetworkCost",
    "Panel",
    "PlaneDensity",
    "PlaneSamples",
    "SamplesOverTime",
    "Saturations",
    "SweepPanel",
    "UnequalGroups",
    "activations",
    "adversarial_images",
    "adversarial_plane",
    "approximation",
    "attention_maps",
    "backpropagation",
    "check_installed",
    "classified_images",
    "comparison",
    "dense_layer",
    "densities",
    "domain",
    "explanations",
    "identification",
    "image_density",
    "image_diffusion",
    "image_samples",
    "latent_planes",
    "latent_priors",
    "latent_variables",
    "learning_curves",
    "long_lag",
    "loss_gallery",
    "losses",
    "matrices",
    "model_choice",
    "network_costs",
    "pairwise",
    "plane_samples",
    "posteriors",
    "predictions",
    "reconstructions",
    "regimes",
    "restored_images",
    "save",
    "scientific",
    "sequence_tasks",
    "solution_curves",
    "solution_fields",
    "space_time",
    "sparsity",
    "state_space",
    "sweeps",
    "translation",
    "unequal_groups",
    "ways_to_solution",
]
