"""Layers in the style of Keras: the shape of the input is taken from the data.

Images are channels last, [N, height, width, channels]. Weights start Glorot uniform, biases zero.
Every layer is a torch module; ``build(input_shape)`` makes its weights, as the first call would.
"""

from pyneural.layers.base import Layer
from pyneural.layers.core import Activation, Dense, Flatten, Input, Reshape
from pyneural.layers.images import Conv2D, Conv2DTranspose, MaxPooling2D, UpSampling2D
from pyneural.layers.regularization import BatchNormalization, Dropout

__all__ = [
    "Activation",
    "BatchNormalization",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "MaxPooling2D",
    "Reshape",
    "UpSampling2D",
]
