"""Every op in plain torch, a file an op.

What the kernels are tested against, what runs on devices without a kernel of ours and under
transformations that kernels do not go through, and the derivatives of the backwards; see
``pyneural.ops.registration``. Arguments are those of the ops' schemas in ``csrc/library.cpp``.
"""

# ruff: noqa: F401 (the functions are the package)

from pyneural.ops.reference.adadelta import adadelta_
from pyneural.ops.reference.adam import adam_
from pyneural.ops.reference.attention import (
    attention,
    attention_backward,
    attention_mask_backward,
    attention_weights,
    attention_with_lse,
)
from pyneural.ops.reference.autoregressive import (
    autoregressive,
    autoregressive_backward,
    autoregressive_nll,
    autoregressive_nll_with_gradients,
    autoregressive_with_saved,
)
from pyneural.ops.reference.continuous_flow import continuous_flow, continuous_flow_backward
from pyneural.ops.reference.damped_cholesky import damped_cholesky, damped_cholesky_solve
from pyneural.ops.reference.dense import dense, dense_backward, dense_with_preactivation
from pyneural.ops.reference.diffusion_sampler import diffusion_sampler
from pyneural.ops.reference.dropout import dropout
from pyneural.ops.reference.jet import (
    jet_mlp,
    jet_mlp_backward,
    jet_mlp_jacobian,
    jet_mlp_loss,
    mean_square,
)
from pyneural.ops.reference.kalman import (
    kalman_filter,
    kalman_filter_backward,
    kalman_smoother,
    kalman_smoother_backward,
)
from pyneural.ops.reference.least_squares import (
    jet_mlp_gram,
    jet_mlp_residual,
    jet_mlp_residual_backward,
    jet_mlp_residual_jacobian,
)
from pyneural.ops.reference.masked_dense import (
    masked_dense,
    masked_dense_backward,
    masked_dense_with_preactivation,
)
from pyneural.ops.reference.mlp import mlp, mlp_backward
from pyneural.ops.reference.mse_loss import mse_loss, mse_loss_backward
from pyneural.ops.reference.path import jet_mlp_path
from pyneural.ops.reference.rnn import rnn, rnn_backward, rnn_with_saved
from pyneural.ops.reference.spline import (
    rational_quadratic_spline,
    rational_quadratic_spline_backward,
)
