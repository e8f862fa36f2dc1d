"""Small adversarial models, and the same networks in plain torch."""

import torch
from torch import nn

from pyneural.models import GAN, ImageDiscriminator, ImageGenerator, MLPDiscriminator, MLPGenerator

SHAPE = (1, 8, 8)


def vectors(features=2, condition=0, spectral_norm=False, **options):
    """Of rows."""
    return GAN(
        MLPGenerator(3, features, [16, 16], condition),
        MLPDiscriminator(features, [16, 16], condition, spectral_norm=spectral_norm),
        **options,
    )


def images(condition=0, spectral_norm=False, **options):
    """Of images of 8 x 8 pixels."""
    discriminator = ImageDiscriminator(SHAPE, 4, condition, spectral_norm)
    return GAN(ImageGenerator(3, SHAPE, 4, condition), discriminator, **options)


MODELS = {"rows": vectors, "images": images}


def data(model, count=60, classes=0):
    """Samples that fit a model, and their classes or None."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, *model.shape, generator=generator)
    return x, torch.arange(count) % classes if classes else None


def fitted(model, epochs=2, classes=0, callbacks=(), **options):
    """The curves of a short training."""
    torch.manual_seed(2)
    x, y = data(model, classes=classes)
    if model._compile_config is None:
        model.compile("adam")
    options = {"batch_size": 20, "verbose": 0} | options
    return model.fit(x, y, epochs=epochs, callbacks=list(callbacks), **options)


def in_torch(mlp):
    """The layers of an ``nn.MLP`` as torch's own, with the same parameters."""
    activation = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
    layers = []
    for layer in mlp.layers:
        twin = nn.Linear(layer.in_features, layer.out_features)
        twin.weight, twin.bias = layer.weight, layer.bias
        layers += [twin, activation[mlp.activation]()]
    return nn.Sequential(*layers[:-1])
