"""Frequency and damping of an oscillator from noisy readings of its position, by simulations.

Run it with: python examples/posterior.py
"""

import torch

from pyneural import metrics, nn
from pyneural.models import NSF, NeuralPosterior

LOW, HIGH = torch.tensor([0.5, 0.05]), torch.tensor([2.0, 0.5])  # of frequency and damping rate
TIMES = torch.linspace(0, 10, 40)


def simulate(count):
    """Parameters from a uniform prior, [count, 2], and readings of the position, [count, 40]."""
    theta = LOW + (HIGH - LOW) * torch.rand(count, 2)
    frequency, damping = theta[:, :1], theta[:, 1:]
    position = (-damping * TIMES).exp() * (frequency * TIMES).cos()
    return theta, position + 0.2 * torch.randn(count, len(TIMES))


def main(simulations=5000, epochs=20):
    """Trains, looks at the calibration, and infers; gives the samples of one posterior."""
    torch.manual_seed(0)
    summary = nn.Sequential(nn.Linear(40, 64), nn.SiLU(), nn.Linear(64, 4))
    bounds = list(zip(LOW.tolist(), HIGH.tolist(), strict=True))
    flow = NSF(2, context=4, transforms=3, hidden_features=[64, 64], bounds=bounds)
    posterior = NeuralPosterior(flow, embedding=summary)  # trained together
    posterior.compile("adam")
    theta, x = simulate(simulations)
    posterior.fit(theta, x, batch_size=50, epochs=epochs, validation_split=0.1)

    # New simulations: is it calibrated, and which level has regions that keep their promise?
    theta, x = simulate(500)
    truth_levels = posterior.credible_level(theta, x)
    level = metrics.conformal_level(truth_levels, 0.9)
    coverage = metrics.expected_coverage(truth_levels).coverage[90]
    print(f"90 % regions contain the truth in {coverage:.0%}; take those of {level:.1%}")

    # A measurement: what it says about the parameters.
    theta, x = simulate(1)
    samples = posterior.sample(x[0], 2000)
    for name, true, column in zip(("frequency", "damping"), theta[0], samples.T, strict=True):
        low, middle, high = column.quantile(torch.tensor([0.16, 0.5, 0.84]))
        print(f"{name:9} {middle:.3f} (+{high - middle:.3f} -{middle - low:.3f}), true {true:.3f}")
    inside = posterior.log_prob(theta, x[0]) >= posterior.density_threshold(x[0], level)
    print(f"the true parameters are {'inside' if inside else 'outside'} of the region")
    return samples


if __name__ == "__main__":
    main()
