"""Keras-style layers, which infer the shape of their input from the data.

Images are channels-last, [N, height, width, channels]. Weights are initialised Glorot uniform and
biases with zero, as in Keras. Every layer is a torch module; ``build(input_shape)`` creates its
weights, and the first call does so if needed.
"""

from pyneural.layers.base import Layer
from pyneural.layers.core import Activation, Dense, Flatten, Input, Reshape
from pyneural.layers.images import Conv2D, Conv2DTranspose, MaxPooling2D, UpSampling2D
from pyneural.layers.regularization import BatchNormalization, Dropout
from pyneural.layers.sequences import GRU, LSTM, Embedding, SimpleRNN

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "BatchNormalization",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Input",
    "Layer",
    "MaxPooling2D",
    "Reshape",
    "SimpleRNN",
    "UpSampling2D",
]
