"""Explanations of what a network does, and tests of them."""

from pyneural.interpret.activation_maximisation import activation_maximisation
from pyneural.interpret.attention_rollout import attention_rollout
from pyneural.interpret.curves import RemovalCurve, deletion_curve, insertion_curve
from pyneural.interpret.gradient_times_input import gradient_times_input
from pyneural.interpret.integrated_gradients import completeness_gap, integrated_gradients
from pyneural.interpret.latent_traversal import latent_traversal
from pyneural.interpret.occlusion import occlusion
from pyneural.interpret.randomization import RandomizationTest, randomization_test
from pyneural.interpret.ranks import rank_correlation
from pyneural.interpret.saliency import saliency
from pyneural.interpret.smooth_grad import smooth_grad

__all__ = [
    "RandomizationTest",
    "RemovalCurve",
    "activation_maximisation",
    "attention_rollout",
    "completeness_gap",
    "deletion_curve",
    "gradient_times_input",
    "insertion_curve",
    "integrated_gradients",
    "latent_traversal",
    "occlusion",
    "randomization_test",
    "rank_correlation",
    "saliency",
    "smooth_grad",
]
