"""Training of flows: contexts, weights of samples, arrays, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import MAF, NCSF, NSF, RealNVP
from pyneural.training import Adam, Batch, TensorBatches, Trainer


def test_a_trainer_trains_it_with_a_context():
    torch.manual_seed(0)
    c = torch.randn(400, 1)
    x = c * torch.tensor([2.0, -1.0]) + 0.1 * torch.randn(400, 2)
    flow = MAF(2, 1, transforms=2)
    batches = TensorBatches(x, c, batch_size=100, seed=0)
    report = Trainer(flow, [Adam(150, lr=1e-2)], batches=batches, progress=False).fit()
    losses = report.history.history["loss"]
    assert losses[-1] < losses[0] - 2
    torch.testing.assert_close(flow(c[:5]).sample((99,)).mean(0), x[:5], atol=0.5, rtol=0)


def test_weights_of_samples_weigh_the_likelihood():
    flow, x = MAF(2), torch.randn(10, 2)
    w = torch.rand(10)
    batch = next(iter(TensorBatches(x, None, w, batch_size=10).epoch(0)))
    loss = flow.losses(batch)["loss"]
    torch.testing.assert_close(loss, -(w * flow().log_prob(x)).mean())


def test_arrays_give_arrays():
    flow, x = MAF(2, 1), np.zeros((4, 2))
    found = flow.log_prob(x, np.zeros((4, 1)))
    assert isinstance(found, np.ndarray)
    assert found.shape == (4,)


def test_predict_says_what_there_is():
    with pytest.raises(NotImplementedError, match=r"write flow\.log_prob\(x\)"):
        MAF(2).predict(torch.zeros(1, 2))


def test_mixed_precision_is_refused():
    with pytest.raises(ValueError, match=r"MAF.compile: mixed_precision: expected None"):
        MAF(2).compile("adam", mixed_precision=torch.bfloat16)


def data(rows=20, context=1):
    torch.manual_seed(0)
    return torch.randn(rows, 3), torch.randn(rows, context)


def test_contexts_as_numbers_are_a_column():
    x, c = data()
    curves = []
    for y in (c, c[:, 0], c[:, 0].numpy(), c[:, 0].double().numpy()):
        torch.manual_seed(1)
        flow = MAF(3, 1, transforms=1)
        flow.compile("adam")
        valid = (x, y)
        history = flow.fit(x, y, batch_size=5, epochs=2, verbose=0, validation_data=valid)
        curves.append([history.history["loss"], history.history["val_loss"], flow.evaluate(x, y)])
    assert curves[0] == curves[1] == curves[2] == curves[3]
    expected = flow(c).log_prob(x)
    assert torch.equal(flow.log_prob(x, c[:, 0]), expected)
    assert torch.equal(flow.log_prob(x, c[:1, 0]), flow(c[0]).log_prob(x))
    found = flow.log_prob(x.numpy(), c[:, 0].numpy())
    torch.testing.assert_close(torch.from_numpy(found), expected)
    batch = Batch(x, c[:, 0], None, len(x), 1.0)
    torch.testing.assert_close(flow.losses(batch)["loss"], -expected.mean())
    with pytest.raises(
        ArgumentError, match=r"expected \[..., 1\], got \[20\]; write context\[:, N"
    ):
        flow(c[:, 0])


def test_contexts_that_are_not_finite_are_named():
    pandas = pytest.importorskip("pandas")
    x, c = data(context=2)
    flow = NSF(3, 2, transforms=1)
    flow.compile("adam")
    holes = c.clone()
    holes[3, 1], holes[5, 1] = torch.nan, torch.inf
    message = (
        r"expected finite numbers, got 2 that are nan or infinite in column 1 \(first in row 3"
    )
    with pytest.raises(ArgumentError, match=r"^fit: y: " + message):
        flow.fit(x, holes)
    assert not flow.whitened
    frame = pandas.DataFrame(holes.numpy(), columns=["mass", "age"])
    with pytest.raises(ArgumentError, match=r"^fit: y: .* column 1 \('age'\)"):
        flow.fit(x, frame)
    with pytest.raises(ArgumentError, match=r"^fit: validation_data: y: " + message):
        flow.fit(x, c, validation_data=(x, holes), verbose=0)
    with pytest.raises(ArgumentError, match=r"^evaluate: y: " + message):
        flow.evaluate(x, holes)
    with pytest.raises(ArgumentError, match=r"^NSF: context: " + message):
        flow(holes)
    with pytest.raises(ArgumentError, match=message):
        flow.losses(Batch(x, holes, None, len(x), 1.0))
    with pytest.raises(ArgumentError, match=message):
        flow.log_prob(x.numpy(), holes.numpy())
    huge = c.double() * 1e300  # infinite in float32
    with pytest.raises(ArgumentError, match=r"^fit: y: expected finite numbers"):
        flow.fit(x, huge)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, holes), batch_size=20)
    with pytest.raises(ArgumentError, match=r"^fit: y: " + message):
        flow.fit(loader, whiten=False, verbose=0)


def test_remedies_of_contexts_name_the_constructor():
    x, c = data()
    flow = NSF(3)
    flow.compile("adam")
    for y in (c, c[:, 0]):
        with pytest.raises(
            ArgumentError, match=r"^fit: y: expected None, .*; make it with context=1$"
        ):
            flow.fit(x, y)
        with pytest.raises(ArgumentError, match=r"losses: context: .*; make it with context=1$"):
            flow.losses(Batch(x, y, None, len(x), 1.0))
    with pytest.raises(
        ArgumentError, match=r"make it with context=20, or with context=1 for a col"
    ):
        flow(c[:, 0])
    conditional = MAF(3, 2)
    conditional.compile("adam")
    with pytest.raises(ArgumentError, match=r"losses: context: .* got None; give the context of"):
        conditional.fit(x, verbose=0)
    with pytest.raises(
        ArgumentError, match=r"^fit: y: expected \[..., 2\], got \[20, 1\]; give 2 col"
    ):
        conditional.fit(x, c)


@pytest.mark.parametrize("model", [NSF, RealNVP, NCSF])
@pytest.mark.parametrize("features", [1, 3])
def test_dtypes_of_contexts(model, features):
    flow, labels = model(features, 2, transforms=1), torch.tensor([[0, 1], [1, 0]])
    x = torch.rand(2, features)
    exact = flow(labels.float()).log_prob(x)
    assert torch.equal(flow(labels).log_prob(x), exact)
    assert torch.equal(flow(labels.bool()).log_prob(x), exact)
    assert torch.equal(flow(labels.half()).log_prob(x), exact)
    with pytest.raises(
        ArgumentError, match=r"float32, as the parameters, got torch.float64; write"
    ):
        flow(labels.double())


def test_contexts_that_torch_maps():
    flow, (x, c) = NSF(3, 1, transforms=1), data()
    mapped = torch.func.vmap(lambda c, x: flow(c).log_prob(x))(c, x)
    torch.testing.assert_close(mapped, flow(c).log_prob(x))
