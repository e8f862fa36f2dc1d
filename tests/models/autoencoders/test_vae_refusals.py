"""What does not fit a variational autoencoder is refused with a remedy."""

import numpy as np
import pytest
import torch
from torch import distributions as D

from pyneural import models
from pyneural.models import VariationalAutoencoder
from tests.models.autoencoders.vae_examples import Mixture, counts, new_model

X = counts()

REFUSED = {
    "fractions": (lambda: new_model().fit(X / 4, verbose=0),
                  r"fit: x: expected whole numbers from 0 to 4, got .* fractions.* not scaled"),
    "above": (lambda: new_model().elbo(X + 1), r"elbo: x: expected whole numbers from 0 to 4"),
    "validation": (lambda: new_model().fit(X, verbose=0, validation_data=X / 4),
                   r"fit: validation_data: x: expected whole numbers"),
    "bernoulli": (lambda: new_model(likelihood="bernoulli").evaluate(X),
                  r"evaluate: x: expected values from 0 to 1, got .*divide x by its largest"),
    "bytes": (lambda: new_model(likelihood="bernoulli").fit(X.byte(), verbose=0),
              r"fit: x: expected values from 0 to 1"),
    "nan": (lambda: new_model(likelihood="gaussian").fit(X / 0, verbose=0),
            r"fit: x: expected finite numbers"),
    "nan in elbo": (lambda: new_model(likelihood="gaussian").log_prob(X / 0),
                    r"log_prob: x: expected finite numbers"),
    "width": (lambda: new_model().fit(X[:, :5], verbose=0),
              r"fit: x: expected \[N, 6\], got \[64, 5\]; write x.reshape"),
    "images": (lambda: new_model().encode(X.view(-1, 2, 3)), r"encode: x: expected \[N, 6\]"),
    "z": (lambda: new_model().decode(torch.zeros(3, 4)), r"decode: z: expected \[N, 2\]"),
    "samples": (lambda: new_model().log_prob(X, 0), r"log_prob: samples: expected a whole number"),
    "no rows": (lambda: new_model().elbo(X[:0]), r"elbo: x: expected .* one row, got \[0, 6\]"),
    "no samples": (lambda: new_model().fit(X[:0], verbose=0), r"fit: x: expected at least one"),
    "decoder": (lambda: VariationalAutoencoder(torch.nn.Linear(6, 4), latent=2),
                r"decoder: expected a module, got None"),
    "latent": (lambda: VariationalAutoencoder(torch.nn.Linear(6, 4), decoder=torch.nn.Linear(2, 6)),
               r"latent: expected a whole number >= 1, got None"),
    "shape": (lambda: VariationalAutoencoder([6, 2], decoder=torch.nn.Linear(2, 1)).elbo(X / 4),
              r"decoder\(z\): expected the shape of x, got \[64, 1\] for x of \[64, 6\]"),
    "encoder": (lambda: VariationalAutoencoder(torch.nn.Linear(6, 3), decoder=torch.nn.Linear(2, 6),
                                               latent=2).elbo(X / 4),
                r"encoder\(x\): expected \[64, 4\], got \[64, 3\]"),
    "likelihood": (lambda: new_model(likelihood="poisson"), r"expected 'bernoulli' or 'gaussian'"),
    "trials": (lambda: models.BinomialLikelihood(0), r"trials: expected >= 1, got 0"),
    "std": (lambda: models.GaussianLikelihood(0.0), r"std: expected a finite number > 0, got 0.0"),
    "beta": (lambda: new_model(beta=0), r"beta: expected a finite number > 0, got 0.*Autoencoder"),
    "beta, a truth value": (lambda: new_model(beta=True), r"beta: expected a finite number > 0"),
    "beta, nan": (lambda: new_model(beta=np.float32("nan")), r"beta: .*, got .*nan"),
    "ends of a line": (lambda: new_model().interpolate(X[:3], X[:1]),
                       r"interpolate: a and b: expected as many samples, got 3 and 1"),
    "warm_up": (lambda: new_model(warm_up=2.5), r"warm_up: expected a whole number >= 0"),
    "unit": (lambda: new_model(unit="batch"), r"unit: expected 'step' or 'epoch', got 'batch'"),
    "prior": (lambda: new_model(prior=D.Normal(torch.zeros(2), 1.0)),
              r"prior: expected one log_prob for each sample, \[N\], got \[2, 2\].*Independent"),
    "prior's size": (lambda: new_model(prior=Mixture(3)), r"prior: expected samples \[N, 2\]"),
    "prior on an interval": (
        lambda: new_model(prior=models.NSF(2, bounds=[(0.0, 1.0), None])),
        r"prior: expected a density on all of R\^n, got one that is 0 in a part of it"),
    "prior of angles": (lambda: new_model(prior=models.NCSF(2)),
                        r"prior: expected a density on all of R\^n, got one .*periodic features"),
    "prior with an angle": (lambda: new_model(prior=models.NSF(2, periodic=[False, True])),
                            r"prior: expected a density on all of R\^n, got one .*periodic"),
    "uniform prior": (
        lambda: new_model(prior=D.Independent(D.Uniform(torch.zeros(2), torch.ones(2)), 1)),
        r"prior: expected a density on all of R\^n"),
    "no prior": (lambda: new_model(prior=3), r"prior: expected log_prob and sample"),
    "plane": (lambda: VariationalAutoencoder([6, 3]).latent_plane(),
              r"latent_plane: expected two latent variables, got a model with latent=3"),
    "loss": (lambda: new_model().compile("adam", "mse"), r"compile: loss: expected none"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_a_remedy(case):
    act, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        act()
