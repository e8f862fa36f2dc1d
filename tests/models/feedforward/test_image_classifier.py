"""The classifier whose features samples of images are measured with."""

from __future__ import annotations

import pytest
import torch

from pyneural import data
from pyneural.models import ImageClassifier, train_image_classifier
from pyneural.models.feedforward.image_classifier import _distorted


def bars(count, size=8):
    """Upright and lying bars at random places, with noise."""
    generator = torch.Generator().manual_seed(0)
    images = 0.2 * torch.rand(count, size, size, generator=generator)
    labels = torch.arange(count) % 2
    places = torch.randint(1, size - 1, (count,), generator=generator)
    for image, label, place in zip(images, labels, places, strict=True):
        (image if label else image.T)[place] += 0.7
    return images, labels


def test_it_learns_and_its_features_tell_classes_apart():
    x, y = bars(200)
    model = train_image_classifier(x[:100], y[:100], classes=2, epochs=12)
    p = model.probabilities(x[100:])
    torch.testing.assert_close(p.sum(1), torch.ones(100))
    assert (p.argmax(1) == y[100:]).float().mean() > 0.95
    h = model.features(x)
    assert h.shape == (200, 64)
    torch.testing.assert_close(model.readout(h).softmax(1), model.probabilities(x))
    assert not h.requires_grad


def test_same_seed_same_network_and_global_generator():
    x, y = bars(40)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (
        train_image_classifier(x, y, classes=2, epochs=1, seed=seed).features(x)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (3, 10, 14), (4, 4)])
def test_shapes(shape):
    model = ImageClassifier(shape, 5, features=7)
    x = torch.rand(3, *shape)
    assert model(x).shape == (3, 5)
    torch.testing.assert_close(model.features(x.flatten(1)), model.features(x))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_distortions_are_small_and_keep_the_middle():
    x = torch.zeros(500, 9, 9)
    x[:, 3:6, 3:6] = 1
    found = _distorted(x, torch.Generator().manual_seed(0))
    assert not torch.equal(found[0], found[1])
    assert (found[:, 4, 4] > 0.99).all()
    assert float(found.mean()) == pytest.approx(float(x.mean()), rel=0.03)
    row = torch.arange(9.0) - 4
    drift = (found.sum(1) @ row / found.sum((1, 2))).abs()
    assert 0.5 < drift.max() < 1  # pixels


def test_digits_of_other_writers():
    """The accuracy that the docstring states, 0.983 on average of seeds, less its spread."""
    pytest.importorskip("sklearn")
    (x, y), (new, labels) = data.digits_8x8()
    x, new = (images.unflatten(1, (8, 8)) / 16 for images in (x, new))
    model = train_image_classifier(x, y)
    assert (model.probabilities(new).argmax(1) == labels).float().mean() > 0.97


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ImageClassifier((8,), 2), r"shape: expected \(H, W\) or \(C, H, W\)"),
        (lambda: ImageClassifier((8, 3), 2), "4 pixels or more"),
        (lambda: ImageClassifier((8, 8), 0), "numbers >= 1"),
        (lambda: ImageClassifier((8, 8), 2)(torch.rand(3, 9, 9)), r"expected \[N, 8, 8\]"),
        (lambda: ImageClassifier((8, 8), 2).features(torch.rand(0, 8, 8)), "an image or more"),
        (lambda: ImageClassifier((8, 8), 2).features(torch.rand(2, 8, 8) / 0), "nan or infinite"),
        (lambda: train_image_classifier(torch.rand(9, 64), torch.arange(9)), r"\[N, H, W\]"),
        (lambda: train_image_classifier(torch.rand(9, 8, 8), torch.arange(8)), r"labels: .*\[9\]"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
