"""Calibration and C2ST equal to sbi's on the same samples, and our flows inside of sbi."""

from __future__ import annotations

import pytest
import torch

from pyneural.metrics import c2st, sbc_ranks, tarp
from pyneural.models import NSF, NeuralPosterior
from tests.models.inference.test_neural_posterior import simulate

pytest.importorskip("sbi")
N, S = 300, 100


@pytest.fixture(scope="module")
def posterior():
    torch.manual_seed(0)
    made = NeuralPosterior(NSF(2, context=2, transforms=2, hidden_features=[16]))
    made.compile("adam")
    made.fit(*simulate(500), epochs=2, verbose=0)  # so poor that the curves are no diagonals
    return made


@pytest.fixture(scope="module")
def new(posterior):
    theta, x = simulate(N, seed=1)
    return theta, x, posterior.sample(x, S)


def test_ranks(new):
    from sbi.diagnostics.sbc import _run_sbc

    theta, x, samples = new
    theirs = _run_sbc(theta, x, samples.transpose(0, 1), "marginals", show_progress_bar=False)
    assert torch.equal(sbc_ranks(theta, samples), theirs.long())


def test_tarp(new):
    from sbi.diagnostics.tarp import _run_tarp

    theta, x, samples = new
    references = x[torch.randperm(N)] / x.std(0)
    theirs, levels = _run_tarp(
        samples.transpose(0, 1), theta, references, num_bins=50, z_score_theta=True
    )
    ours = tarp(theta, samples, references=references, levels=1001)
    place = (levels * 1000).round().long()
    # Theirs takes k / S for the (k + u) / (S + 1) of ours, and the bins of a histogram.
    assert ours.deviation > 0.1
    assert (ours.coverage[place] - theirs).abs().max() < 0.03


def test_credible_levels_are_ranks_of_the_density(posterior):
    from sbi.diagnostics.sbc import _run_sbc

    theta, x = simulate(N, seed=1)
    torch.manual_seed(3)
    samples = posterior(x).sample((S,))
    theirs = _run_sbc(theta, x, samples, posterior.log_prob, show_progress_bar=False)
    torch.manual_seed(3)
    ours = posterior.credible_level(theta, x, S)
    torch.testing.assert_close(ours, 1 - theirs[:, 0].double() / S, atol=0, rtol=1e-6)


def test_c2st():
    from sbi.utils.metrics import c2st as theirs

    torch.manual_seed(0)
    x, y = torch.randn(500, 2), torch.randn(500, 2) * torch.tensor([1.0, 0.5])
    by_sbi = theirs(x, y, seed=1, classifier="mlp")
    assert by_sbi > 0.6
    assert abs(c2st(x, y) - float(by_sbi)) < 0.03


@pytest.mark.filterwarnings("ignore:Maximum number of epochs")
def test_our_flow_is_a_density_estimator_of_sbi(tmp_path, monkeypatch):
    from sbi.inference import NPE
    from sbi.neural_nets.estimators import ZukoFlow
    from sbi.utils import BoxUniform

    monkeypatch.chdir(tmp_path)  # sbi writes logs to the current folder
    prior = BoxUniform(torch.zeros(2), torch.ones(2))
    torch.manual_seed(0)
    theta = prior.sample((300,))
    x = theta + 0.1 * torch.randn(300, 2)
    flow = NSF(2, context=2, transforms=2, hidden_features=[16], bounds=[(0, 1), (0, 1)])

    def build(theta, x):
        return ZukoFlow(flow, torch.nn.Identity(), theta.shape[1:], x.shape[1:])

    estimator = build(theta, x)
    torch.testing.assert_close(estimator.loss(theta, x), -flow(x).log_prob(theta))
    before = estimator.loss(theta, x).mean().item()
    inference = NPE(prior, density_estimator=build, show_progress_bars=False)
    trained = inference.append_simulations(theta, x).train(max_num_epochs=20)
    assert trained.loss(theta, x).mean().item() < before - 0.5
    posterior = inference.build_posterior()
    samples = posterior.sample((100,), x=torch.tensor([0.3, 0.7]), show_progress_bars=False)
    assert ((samples >= 0) & (samples <= 1)).all()
    assert (samples.mean(0) - torch.tensor([0.3, 0.7])).abs().max() < 0.2
