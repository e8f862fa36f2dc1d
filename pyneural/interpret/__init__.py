"""What a network looks at, and whether an explanation can be trusted.

A method takes any torch module, inputs [N, ...] and a target, which names the output to explain;
the module is evaluated in evaluation mode and left as it was, with its weights, modes, gradients,
hooks and torch's random numbers.

- for each element of images, series and tables: ``saliency``, ``smooth_grad``, ``occlusion``,
  ``gradient_times_input``, ``integrated_gradients``
- of a transformer: ``attention_rollout``; of a class: ``activation_maximisation``; of an
  autoencoder: ``latent_traversal``
- tests: ``randomization_test``, ``deletion_curve``, ``insertion_curve``, ``completeness_gap``

Most explanations look plausible, also those that do not depend on what the network has learned
(Adebayo et al., arXiv:1810.03292). ``randomization_test`` gives the rank correlation that is left
when all weights are random; the bar is 0.2, for signed values and for magnitudes.
RECOMMENDED
"""

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
