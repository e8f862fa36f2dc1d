"""Which noise goes to which sample of a batch, for flow matching."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyneural.training.checks import check


def independent(noise: Tensor, x: Tensor) -> Tensor:
    """The noise as it was drawn: any of it goes to any sample."""
    return noise


def optimal_transport(noise: Tensor, x: Tensor) -> Tensor:
    """Noise [N, ...] in the order that makes sum_i |x_i - noise_i|^2 least, by the batch x.

    The paths of a batch then hardly cross, so that the learnt ones are straighter. The assignment
    is exact; its time grows as N^3, and is some milliseconds for 256 samples.

    Raises:
        ImportError: scipy is missing.

    Source: Tong et al. 2023, arXiv:2302.00482, section 4.1; Pooladian et al. 2023,
    arXiv:2304.14772.

    >>> optimal_transport(torch.tensor([[0.0], [5.0]]), torch.tensor([[6.0], [1.0]]))
    tensor([[5.],
            [0.]])
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ImportError(
            f"FlowMatching: coupling: expected scipy for 'optimal_transport', got {error}; pip "
            "install 'pyneural[data]'"
        ) from error
    rows, others = x.detach().flatten(1).double(), noise.flatten(1).double()
    costs = torch.cdist(rows, others).square().cpu()
    good = bool(costs.isfinite().all())
    check(good, "FlowMatching: coupling", "finite samples", "nan or infinite ones")
    _, order = linear_sum_assignment(costs.numpy())
    return noise[torch.from_numpy(order).to(noise.device)]


COUPLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "independent": independent,
    "optimal_transport": optimal_transport,
}
