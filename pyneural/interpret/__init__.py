"""What a network looks at, and whether an explanation can be trusted.

A method takes any torch module, inputs [N, ...] and a target, which names the output to explain;
the module is evaluated in evaluation mode and left as it was, with its weights, buffers, modes,
gradients, hooks and torch's random numbers. ``FixedInputs`` holds further inputs of a model, as the
lengths of series.

- for each element of images, series and tables: ``saliency``, ``smooth_grad``, ``occlusion``,
  ``gradient_times_input``, ``integrated_gradients``
- of a transformer: ``attention_rollout``; of a class: ``activation_maximisation``; of an
  autoencoder: ``latent_traversal``
- tests: ``randomization_test``, ``deletion_curve``, ``insertion_curve``, ``completeness_gap``

Most explanations look plausible, also those that do not depend on what the network has learned
(Adebayo et al., arXiv:1810.03292). ``randomization_test`` gives the rank correlation that is left
when all weights are random; the bar is 0.2, for signed values and for magnitudes.
Measured on digits, on series of which two steps matter, and on a table, by the demo
``interpret``, as the mean correlation of magnitudes over three networks each:

    method                 images   series    table
    saliency                 0.09    -0.07    -0.05
    SmoothGrad               0.11    -0.08    -0.05
    occlusion                0.14     0.47     0.12
    attention rollout                 0.05
    gradient x input         0.86     0.89     0.13
    integrated gradients     0.86     0.92     0.10

Recommended are ``saliency`` and ``smooth_grad``, which are below the bar everywhere; beside them
``occlusion`` of images by a grey window, and all methods for tables. Attention rollout depends on
queries and keys alone: it does not change with the layers above the last attention. Gradient times
input and integrated gradients are products with the input or its distance from the baseline, and
mostly show that, where it varies as in images and series. They say by how much an element
contributes, in units of the output; where to look, ask the others. A small area below the deletion
curve is no proof: on a black background it favours what points at all that is not black.
"""

from pyneural.interpret.activation_maximisation import activation_maximisation
from pyneural.interpret.attention_rollout import attention_rollout
from pyneural.interpret.curves import RemovalCurve, deletion_curve, insertion_curve
from pyneural.interpret.fixed_inputs import FixedInputs
from pyneural.interpret.gradient_times_input import gradient_times_input
from pyneural.interpret.integrated_gradients import completeness_gap, integrated_gradients
from pyneural.interpret.latent_traversal import latent_traversal
from pyneural.interpret.occlusion import occlusion
from pyneural.interpret.randomization import RandomizationTest, randomization_test
from pyneural.interpret.ranks import rank_correlation
from pyneural.interpret.saliency import saliency
from pyneural.interpret.smooth_grad import smooth_grad

__all__ = [
    "FixedInputs",
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
