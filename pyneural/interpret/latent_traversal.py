"""Latent traversal: what a decoder makes of one latent variable."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_argument, whole
from pyneural.interpret.arguments import DTYPES, as_input, check_model, short
from pyneural.interpret.scores import left_as_found


class Decoder(Protocol):
    """A module with a method ``decode``, as the autoencoders of ``pyneural.models``."""

    def decode(self, z: Tensor) -> Tensor | torch.distributions.Distribution:
        """What latent vectors [N, L] stand for, [N, ...]; of a distribution the mean is taken."""


def latent_traversal(model: Decoder, z: Tensor, coordinate: int, values: Tensor) -> Tensor:
    """What is decoded from latent vectors in which one coordinate takes each of some values.

        x_nk = decode(z_n + (v_k - z_nj) e_j)

    Args:
        model: a module with ``decode``, as ``models.Autoencoder`` and
            ``models.VariationalAutoencoder``, of whose p(x|z) the mean is taken.
        z: latent vectors [N, L], such as ``model.encode(x)`` of an autoencoder and
            ``model.encode(x).mean`` of a variational one.
        coordinate: j, from 0 to L - 1.
        values: v [K], such as ``torch.linspace(-3, 3, 9)`` for a standard normal prior.

    Returns:
        x, [N, K, ...].

    Raises:
        ArgumentError: a model without ``decode`` or in half precision; z, coordinate or values that
            do not fit; a result that is no tensor or not finite.

    Source: Higgins et al., "beta-VAE", ICLR (2017), figure 2.

    >>> from pyneural.models import Autoencoder
    >>> model = Autoencoder([6, 2])
    >>> latent_traversal(model, torch.zeros(3, 2), 1, torch.linspace(-1, 1, 5)).shape
    torch.Size([3, 5, 6])
    """
    where = "latent_traversal"
    check_model(where, model)
    good, got = hasattr(model, "decode"), type(model).__name__
    check_argument(good, f"{where}: model", "a module with a method decode", got, "give it one")
    z = as_input(where, z, "z").detach()
    check_argument(z.ndim == 2, f"{where}: z", "[N, L]", list(z.shape), "encode samples first")
    j, latent = whole(f"{where}: coordinate", coordinate), z.shape[1]
    check_argument(0 <= j < latent, f"{where}: coordinate", f"0 to {latent - 1}", j, "write 0")
    values = as_input(where, values, "values").detach().to(z)
    good = values.ndim == 1
    check_argument(good, f"{where}: values", "[K]", list(values.shape), "flatten them")
    moved = z[:, None].repeat(1, len(values), 1)  # [N, K, L]
    moved[:, :, j] = values
    with left_as_found(model, z), torch.no_grad():  # type: ignore[arg-type]
        decoded = model.decode(moved.flatten(0, 1))
        found = decoded if isinstance(decoded, Tensor) else getattr(decoded, "mean", None)
    if not isinstance(found, Tensor) or found.dtype not in DTYPES:
        got = short(found.dtype) if isinstance(found, Tensor) else type(decoded).__name__
        raise ArgumentError(
            f"{where}: decode: expected a tensor or distribution in float32 or float64, got {got}; "
            "return one"
        )
    good, rows = len(found) == moved.shape[0] * moved.shape[1], list(found.shape)
    check_argument(good, f"{where}: decode", "a row for each latent vector", rows, "return one")
    good, remedy = bool(found.isfinite().all()), "take values nearer to those of the data"
    check_argument(good, f"{where}: decode", "finite numbers", "NaN or infinity", remedy)
    return found.unflatten(0, (len(z), len(values)))
