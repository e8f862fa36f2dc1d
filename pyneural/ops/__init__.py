"""The kernels as functions of tensors; ``pyneural.ops.reference`` has each in plain torch."""

from pyneural._loader import load

load()  # before the modules that register what belongs to the ops

from pyneural.ops import flops  # noqa: F401 (it registers itself)
from pyneural.ops.adadelta import adadelta_
from pyneural.ops.adam import adam_
from pyneural.ops.attention import attention, attention_weights
from pyneural.ops.autoregressive import (
    autoregressive,
    autoregressive_degrees,
    autoregressive_nll,
    coupling_degrees,
)
from pyneural.ops.continuous_flow import continuous_flow
from pyneural.ops.damped_cholesky import damped_cholesky, damped_cholesky_solve
from pyneural.ops.dense import dense
from pyneural.ops.diffusion_sampler import diffusion_sampler
from pyneural.ops.dropout import dropout
from pyneural.ops.jet import batching  # noqa: F401 (it registers itself)
from pyneural.ops.jet.collapse import collapse_derivatives
from pyneural.ops.jet.derivatives import Derivative, Laplacian, LinearOperator
from pyneural.ops.jet.divergence import mlp_divergence
from pyneural.ops.jet.functional import jet_mlp, jet_mlp_jacobian, jet_mlp_loss
from pyneural.ops.jet.least_squares import (
    jet_mlp_gram,
    jet_mlp_residual,
    jet_mlp_residual_jacobian,
)
from pyneural.ops.jet.mean_square import GroupedSquare, MeanSquare
from pyneural.ops.jet.path import jet_mlp_path
from pyneural.ops.jet.plan import input_channels
from pyneural.ops.jet.recorder import NotExpressibleError, Recorder, Symbol, record_residual
from pyneural.ops.jet.residual import ResidualProgram
from pyneural.ops.kalman import kalman_filter, kalman_smoother
from pyneural.ops.masked_dense import SparsityPattern, masked_dense
from pyneural.ops.mlp import mlp
from pyneural.ops.mse_loss import mse_loss
from pyneural.ops.rnn import rnn
from pyneural.ops.spline import rational_quadratic_spline

__all__ = [
    "Derivative",
    "GroupedSquare",
    "Laplacian",
    "LinearOperator",
    "MeanSquare",
    "NotExpressibleError",
    "Recorder",
    "ResidualProgram",
    "SparsityPattern",
    "Symbol",
    "adadelta_",
    "adam_",
    "attention",
    "attention_weights",
    "autoregressive",
    "autoregressive_degrees",
    "autoregressive_nll",
    "collapse_derivatives",
    "continuous_flow",
    "coupling_degrees",
    "damped_cholesky",
    "damped_cholesky_solve",
    "dense",
    "diffusion_sampler",
    "dropout",
    "input_channels",
    "jet_mlp",
    "jet_mlp_gram",
    "jet_mlp_jacobian",
    "jet_mlp_loss",
    "jet_mlp_path",
    "jet_mlp_residual",
    "jet_mlp_residual_jacobian",
    "kalman_filter",
    "kalman_smoother",
    "masked_dense",
    "mlp",
    "mlp_divergence",
    "mse_loss",
    "rational_quadratic_spline",
    "record_residual",
    "rnn",
]
