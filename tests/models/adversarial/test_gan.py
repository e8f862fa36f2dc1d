"""The adversarial model: training in turn, curves, conditions, files, resumption, refusals."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pyneural.metrics import mode_coverage
from pyneural.models import GAN, MLPDiscriminator, MLPGenerator, load_model, saturation
from pyneural.training import Batch, Descent, TensorBatches, Trainer
from pyneural.training.callbacks import EMA, Callback, TorchScheduler
from pyneural.training.state.file import load_checkpoint
from tests.models.adversarial.gan_examples import MODELS, data, fitted, in_torch, vectors

for_both = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
PENALTIES = [None, "r1", "gradient"]


@for_both
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_both_parts_learn_and_all_curves_are_there(make, penalty, spectral_norm):
    torch.manual_seed(0)
    model = make(penalty=penalty, spectral_norm=spectral_norm)
    before = copy.deepcopy(dict(model.named_parameters()))
    x, _ = data(model)
    history = fitted(model, validation_data=x).history
    assert all(not torch.equal(v, before[name]) for name, v in model.named_parameters())
    names = model.quantities()
    assert list(history) == [*names, *(f"val_{name}" for name in names)]
    assert ("penalty" in names) == (penalty is not None)
    assert all(0 < value < 1 for value in history["d_real"] + history["d_fake"])
    total = np.add(history["discriminator"], history["generator"])
    assert history["loss"] == pytest.approx(total)
    assert model.evaluate(x, verbose=0) == model.evaluate(x, verbose=0)


def by_hand(generator, discriminator, x, noises, loss, smoothing, penalty):
    """Two steps of plain torch; the same updates in the same order."""
    options = {"lr": 1e-3, "betas": (0.5, 0.9)}
    for_g = torch.optim.Adam(generator.parameters(), **options)
    for_d = torch.optim.Adam(discriminator.parameters(), **options)
    bce = nn.functional.binary_cross_entropy_with_logits
    for batch, (first, second) in zip(x.split(10), noises, strict=True):
        batch.requires_grad_()
        real, fake = discriminator(batch), discriminator(generator(first).detach())
        total = bce(real, torch.full_like(real, 1 - smoothing)) + bce(fake, torch.zeros_like(fake))
        if penalty:
            (slope,) = torch.autograd.grad(real.sum(), batch, create_graph=True)
            total = total + penalty * 0.5 * slope.square().sum(1).mean()
        for_d.zero_grad()
        total.backward()
        for_d.step()
        fake = discriminator(generator(second))
        ones = torch.ones_like(fake)
        total = bce(fake, ones) if loss == "non-saturating" else -bce(fake, 1 - ones)
        for_g.zero_grad()
        total.backward()
        for_g.step()


@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.3)])
@pytest.mark.parametrize("features", [2, 6])
def test_updates_are_those_of_plain_torch(loss, smoothing, weight, features):
    torch.manual_seed(0)
    penalty = {"penalty": "r1", "weight": weight} if weight else {}
    model = vectors(features, loss=loss, smoothing=smoothing, **penalty).double()
    twins = copy.deepcopy(
        [in_torch(model.generator.network), in_torch(model.discriminator.network)]
    )
    x = torch.randn(20, features, dtype=torch.float64)
    noises = torch.randn(2, 2, 10, 3, dtype=torch.float64)
    given = iter(noises.flatten(0, 1))
    model.noise = lambda count: next(given)
    model.compile(lambda p: torch.optim.Adam(p, 1e-3, (0.5, 0.9)))
    model.fit(x, batch_size=10, shuffle=False, verbose=0)
    by_hand(*twins, x.clone(), noises, loss, smoothing, weight)
    for part, twin in zip((model.generator, model.discriminator), twins, strict=True):
        for found, exact in zip(part.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-10)


def test_a_part_is_not_changed_by_the_step_of_the_other():
    torch.manual_seed(0)
    model = vectors(penalty="r1")
    state, seen = copy.deepcopy(model.state_dict()), []

    class Solver:
        def minimise(self, loss, part):
            own = list(model.get_submodule(part).parameters())
            for parameter in model.parameters():
                parameter.grad = None
            loss.backward(inputs=own)
            seen.append((part, all(p.grad is not None for p in own)))

    x, _ = data(model)
    model.training_step(Batch(x, None, None, len(x), 1.0), Solver())
    assert seen == [("discriminator", True), ("generator", True)]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_optimisers_by_their_parts_and_learning_rates():
    model = vectors()
    adam = lambda lr: lambda parameters: torch.optim.Adam(parameters, lr)  # noqa: E731
    model.compile({"generator": adam(1e-3), "discriminator": adam(2e-3)}, clip_norm=1.0)
    rates = []

    class Record(Callback):
        def on_train_batch_end(self):
            rates.append([o.param_groups[0]["lr"] for o in self.run.optimizers])

    half = TorchScheduler(lambda o: lr_scheduler.StepLR(o, 1, 0.5))
    fitted(model, callbacks=[Record(), half])
    assert rates[0] == [2e-3, 1e-3]  # discriminator first
    assert rates[-1] == [1e-3, 5e-4]
    with pytest.raises(RuntimeError, match="one optimizer, got one with several, of discriminator"):
        _ = model.optimizer


def test_the_engine_trains_it_without_compile():
    model = vectors()
    x, _ = data(model)
    phase = Descent({"discriminator": "adam", "generator": "adam"}, steps=4)
    report = Trainer(model, [phase], batches=TensorBatches(x, batch_size=20), progress=False).fit()
    assert report.steps == 4
    assert {"discriminator", "generator"} <= set(report.history.history)


@for_both
def test_average_of_the_generator_alone(make):
    model, seen, looked = make(), [], []
    average = EMA(0.8, "generator")

    class Record(Callback):
        def on_train_batch_end(self):
            own = [p.detach().clone() for p in model.generator.parameters()]
            seen.append(own)
            with average.averaged():
                looked.append([p.detach().clone() for p in model.generator.parameters()])
            after = list(model.generator.parameters())
            assert all(torch.equal(a, b) for a, b in zip(own, after, strict=True))
            self.last = copy.deepcopy(model.discriminator.state_dict())

    record = Record()
    fitted(model, callbacks=[average, record])
    expected = seen[0]
    for weights in seen[1:]:
        expected = [0.8 * e + 0.2 * w for e, w in zip(expected, weights, strict=True)]
    for found in (list(model.generator.parameters()), looked[-1]):
        torch.testing.assert_close([p.detach() for p in found], expected)
    for name, value in model.discriminator.state_dict().items():
        assert torch.equal(value, record.last[name])
    with pytest.raises(ValueError, match="EMA: part: expected the name of a submodule"):
        fitted(model, callbacks=[EMA(0.8, "decoder")])


def state_after(make, path, stops, **options):
    """The model and its history after epochs that are interrupted where ``stops`` says."""
    for epochs in stops:
        torch.manual_seed(0)
        model = make(penalty="r1", **options)
        model.compile(lambda p: torch.optim.Adam(p, 1e-3, (0.5, 0.9)))
        cosine = TorchScheduler(lambda o: lr_scheduler.CosineAnnealingLR(o, 12), "batch")
        beside = [EMA(0.9, "generator"), cosine]
        history = fitted(model, epochs, callbacks=beside, checkpoint=path, resume=True)
    return model, history


@for_both
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_resumed_training_is_the_same_bit_by_bit(make, spectral_norm, tmp_path):
    """Weights, the generator's average, both optimisers, curves."""
    results, files = [], []
    for stops in ([4], [1, 3, 4]):
        path = tmp_path / f"{len(stops)}.safetensors"
        results.append(state_after(make, path, stops, spectral_norm=spectral_norm))
        files.append(load_checkpoint(path)[0])
    (one, first), (two, second) = results
    assert first.history == second.history
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert any("exp_avg_sq" in name for name in files[0])
    assert files[0].keys() == files[1].keys()
    for name, value in files[0].items():
        assert torch.equal(value, files[1][name]), name


@for_both
@pytest.mark.parametrize("classes", [0, 3])
def test_same_samples_after_save_and_load(make, classes, tmp_path):
    torch.manual_seed(0)
    options = {"loss": "minimax", "smoothing": 0.1, "penalty": "gradient", "weight": 2.0}
    model = make(condition=classes, spectral_norm=True, **options)
    fitted(model, classes=classes)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.get_config() == model.get_config()
    assert {name: getattr(again, name) for name in options} == options
    c = torch.arange(7) % classes if classes else None
    drawn = []
    for one in (model, again):
        torch.manual_seed(1)
        drawn.append(one.sample(7, c))
    assert torch.equal(*drawn)
    assert drawn[0].shape == (7, *model.shape)
    x, y = data(model, classes=classes)
    torch.testing.assert_close(model.evaluate(x, y), again_compiled(again).evaluate(x, y))


def again_compiled(model):
    model.compile("adam")
    return model


@for_both
def test_float64(make):
    torch.manual_seed(0)
    model = make(penalty="r1").double()
    x, _ = data(model)
    model.compile("adam")
    model.fit(x.double(), batch_size=20, verbose=0)
    assert model.sample(3).dtype == torch.float64


def test_classes_tell_samples_apart():
    torch.manual_seed(0)
    y = torch.arange(1024) % 2
    x = torch.randn(1024, 1) * 0.2 + 2.0 * y[:, None] - 1
    model = GAN(MLPGenerator(2, 1, [32], 2), MLPDiscriminator(1, [32], 2), penalty="r1", weight=0.1)
    model.compile(lambda p: torch.optim.Adam(p, 5e-3, (0.5, 0.9)))
    model.fit(x, y, batch_size=128, epochs=60, verbose=0, callbacks=[EMA(0.95, "generator")])
    for k in (0, 1):
        found = model.sample(1000, torch.full((1000,), k))
        assert found.mean().item() == pytest.approx(2 * k - 1, abs=0.5)


def test_it_learns_a_gaussian():
    torch.manual_seed(0)
    x = 0.3 * torch.randn(2560, 2) + torch.tensor([1.0, -0.5])
    model = GAN(MLPGenerator(2, 2, [32, 32]), MLPDiscriminator(2, [32, 32]), penalty="r1")
    model.compile(lambda p: torch.optim.Adam(p, 2e-3, (0.5, 0.9)))
    history = model.fit(x, batch_size=128, epochs=25, verbose=0, callbacks=[EMA(0.98, "generator")])
    found = model.sample(4000)
    torch.testing.assert_close(found.mean(0), x.mean(0), rtol=0, atol=0.1)
    assert mode_coverage(found, torch.tensor([[1.0, -0.5]]), 0.3).share > 0.95
    assert found.std(0).min() > 0.18
    assert history.history["d_fake"][-1] == pytest.approx(0.5, abs=0.1)


def test_saturation_of_the_minimax_loss():
    """The slopes of both losses, where the discriminator is sure, against its logit by hand."""
    torch.manual_seed(0)
    model = vectors().double()
    with torch.no_grad():
        last = model.discriminator.network.layers[-1]
        last.bias.fill_(-20.0)
    torch.manual_seed(3)
    found = saturation(model, count=500)
    torch.manual_seed(3)
    z = model.noise(500)
    logits = model.discriminator(model(z))[:, 0]
    own = list(model.generator.parameters())
    for name, slope in (("minimax", -logits.sigmoid()), ("non_saturating", logits.sigmoid() - 1)):
        gradients = torch.autograd.grad(logits, own, slope.detach() / 500, retain_graph=True)
        norm = torch.cat([g.flatten() for g in gradients]).norm().item()
        assert getattr(found, name) == pytest.approx(norm, rel=1e-9)
    assert found.d_fake == pytest.approx(logits.sigmoid().mean().item(), rel=1e-9)
    assert found.minimax < 1e-7 * found.non_saturating
    with pytest.raises(ValueError, match="saturation: count"):
        saturation(model, count=0)
