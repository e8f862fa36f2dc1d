"""Likelihoods p(x|z): what the output of a decoder network says about a sample.

Every log-likelihood is summed over the elements of a sample, in nats. A mean over them would weaken
it against KL(q(z|x) || p(z)) by their number: the posterior would collapse onto the prior, and the
latent vector would say nothing about x.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor, distributions
from torch.nn.functional import binary_cross_entropy_with_logits

from pyneural.errors import ArgumentError, whole

_BYTE = 255  # largest grey level of most images


class Likelihood(torch.nn.Module):
    """Base class: ``forward`` of the decoder's output gives p(x|z), a torch distribution.

    A subclass writes ``elementwise``; and ``log_prob``, where that is faster than the
    distribution's, and ``check``, where x must be of a certain kind.
    """

    def elementwise(self, output: Tensor) -> distributions.Distribution:
        """The distribution of each element for itself, of the shape of x, [N, ...]."""
        raise NotImplementedError(
            f"{type(self).__name__}: expected elementwise, got none; write it"
        )

    def forward(self, output: Tensor) -> distributions.Distribution:
        """p(x|z) of whole samples, [N, ...], from the decoder's output, of the same shape."""
        return distributions.Independent(
            self.elementwise(output), output.dim() - 1, validate_args=False
        )

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """The sum of log p(x_i|z) over the elements of x, [N, ...]: [N], in nats."""
        return _summed(self.elementwise(output).log_prob(x))

    def check(self, where: str, x: Tensor) -> None:
        """ArgumentError where there are values that p(x|z) does not have."""


class BinomialLikelihood(Likelihood):
    """Whole numbers 0 to n, such as the grey levels of a pixel or counts of n trials.

        log p(x|z) = sum_i log C(n, x_i) + x_i log p_i + (n - x_i) log(1 - p_i),
        p = sigmoid(output)

    Args:
        trials: n, >= 1.

    Raises:
        ArgumentError: trials below 1.

    >>> BinomialLikelihood(16).log_prob(torch.zeros(1, 2), torch.tensor([[8.0, 0.0]]))
    tensor([-12.7181])
    """

    def __init__(self, trials: int) -> None:
        super().__init__()
        self.trials = whole("BinomialLikelihood: trials", trials)
        if self.trials < 1:
            raise ArgumentError(
                f"BinomialLikelihood: trials: expected >= 1, got {trials}; write the largest value "
                "that x may have"
            )

    def elementwise(self, output: Tensor) -> distributions.Distribution:
        """Binomial distributions."""
        return distributions.Binomial(self.trials, logits=output, validate_args=False)

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """The sum of log p(x_i|z), [N], in nats.

        Of n = 65,535, the coefficient and the rest are +-45,000 nats an element where they differ
        by 6: for more trials than 255 it is computed in float64.
        """
        dtype = x.dtype
        if self.trials == 1:
            return -_summed(binary_cross_entropy_with_logits(output, x, reduction="none"))
        if self.trials > _BYTE:
            output, x = output.double(), x.double()
        entropy = binary_cross_entropy_with_logits(output, x / self.trials, reduction="none")
        return _summed(self._log_coefficients(x) - self.trials * entropy).to(dtype)

    def _log_coefficients(self, x: Tensor) -> Tensor:
        """The elements' log C(n, x_i), computed in float64, of the shape and dtype of x."""
        few = self.trials < x.numel()  # then a table of all, and few logarithms of gamma functions
        k = torch.arange(self.trials + 1, dtype=torch.float64) if few else x.double()
        n = torch.tensor(float(self.trials), dtype=torch.float64)
        of_k = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        return of_k.to(x)[x.long()] if few else of_k.to(x)

    def check(self, where: str, x: Tensor) -> None:
        """ArgumentError unless x are whole numbers from 0 to n."""
        expected = f"whole numbers from 0 to {self.trials}"
        _check_range(where, x, expected, self.trials, "give trials=N of the largest value")
        fractions = x[x != x.round()]
        if len(fractions):
            raise ArgumentError(
                f"{where}: expected {expected}, got {len(fractions):,} fractions, the first of "
                f"them {fractions[0].item():g}; give the counts as they are, not scaled, or use "
                "the Gaussian likelihood"
            )

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        return str(self.trials)


class BernoulliLikelihood(BinomialLikelihood):
    """Elements that are 0 or 1, such as black and white pixels.

        log p(x|z) = sum_i x_i log p_i + (1 - x_i) log(1 - p_i),   p = sigmoid(output)

    Grey values between 0 and 1 are taken, too, as is usual; what is reported then is a
    cross-entropy and no log-likelihood, to be compared with none (Loaiza-Ganem, Cunningham 2019).

    >>> BernoulliLikelihood().log_prob(torch.zeros(1, 3), torch.ones(1, 3))
    tensor([-2.0794])
    """

    def __init__(self) -> None:
        super().__init__(1)

    def elementwise(self, output: Tensor) -> distributions.Distribution:
        """Bernoulli distributions."""
        return distributions.Bernoulli(logits=output, validate_args=False)

    def check(self, where: str, x: Tensor) -> None:
        """ArgumentError unless x is from 0 to 1."""
        remedy = "divide x by its largest value, or use BinomialLikelihood(n) for whole numbers"
        _check_range(where, x, "values from 0 to 1", 1, remedy)

    def extra_repr(self) -> str:
        """There are no arguments."""
        return ""


class GaussianLikelihood(Likelihood):
    """Real numbers around the decoder's output, with one standard deviation sigma for all elements.

        log p(x|z) = -sum_i (x_i - output_i)^2 / (2 sigma^2) - I log sigma - I/2 log(2 pi)

    sigma weighs the reconstruction against KL(q(z|x) || p(z)): where the noise of the data is not
    known, let it be learned (Rybkin, Daniilidis and Levine 2021).

    Args:
        std: sigma, or where its training starts.
        learned: whether it is a parameter.

    Raises:
        ArgumentError: a std that is not a finite number > 0.

    >>> GaussianLikelihood(0.1).log_prob(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor([2.7673])
    """

    def __init__(self, std: float = 1.0, learned: bool = False) -> None:
        super().__init__()
        if not is_positive(std):
            raise ArgumentError(
                f"GaussianLikelihood: std: expected a finite number > 0, got {std!r}; write the "
                "noise of the data, as 0.1, or learned=True"
            )
        self.learned, self._std = bool(learned), float(std)
        if self.learned:
            self.log_std = torch.nn.Parameter(torch.tensor(math.log(std)))

    @property
    def std(self) -> float:
        """The standard deviation sigma as it is now."""
        return math.exp(self.log_std.item()) if self.learned else self._std

    def elementwise(self, output: Tensor) -> distributions.Distribution:
        """Normal distributions."""
        std = self.log_std.exp() if self.learned else output.new_tensor(self._std)
        return distributions.Normal(output, std.expand_as(output), validate_args=False)

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """The sum of log p(x_i|z), [N], in nats."""
        square = _summed((x - output).square())
        elements = math.prod(x.shape[1:])
        if self.learned:
            scaled = square * (-2 * self.log_std).exp()
            return -0.5 * scaled - elements * (self.log_std + 0.5 * math.log(2 * math.pi))
        constant = elements * (math.log(self._std) + 0.5 * math.log(2 * math.pi))
        return square * (-0.5 / self._std**2) - constant

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        return f"std={self.std:g}, learned={self.learned}"


_BY_NAME = {"bernoulli": BernoulliLikelihood, "gaussian": GaussianLikelihood}


def likelihood_of(where: str, given: str | torch.nn.Module) -> Likelihood:
    """A likelihood by its name, or itself; ArgumentError for what is none."""
    if isinstance(given, str) and given.lower() in _BY_NAME:
        return _BY_NAME[given.lower()]()
    if not isinstance(given, Likelihood):
        remedy = "write BinomialLikelihood(16) for whole numbers from 0 to 16"
        names = " or ".join(map(repr, _BY_NAME))
        raise ArgumentError(f"{where}: expected {names}, or a Likelihood, got {given!r}; {remedy}")
    return given


def is_positive(value: object) -> bool:
    """Whether it is a finite number > 0, of Python or NumPy, and no truth value.

    >>> is_positive(0.5), is_positive(0), is_positive(math.inf), is_positive("1")
    (True, False, False, False)
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and 0 < float(value) < math.inf  # type: ignore[arg-type]


def _summed(elements: Tensor) -> Tensor:
    """Sums over all but the first dimension."""
    return elements.flatten(1).sum(1)


def _check_range(where: str, x: Tensor, expected: str, high: float, remedy: str) -> None:
    if x.numel() == 0:
        return
    least, most = x.aminmax()
    if not (least >= 0 and most <= high):  # also of nan
        outside = int((~((x >= 0) & (x <= high))).sum())
        raise ArgumentError(
            f"{where}: expected {expected}, got {outside:,} outside (from {least.item():g} to "
            f"{most.item():g}); {remedy}"
        )
