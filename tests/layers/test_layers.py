"""Keras-style layers: shapes from the data, Keras' output sizes, values against torch's layers."""

import pytest
import torch

from pyneural import layers

IMAGE = torch.randn(2, 9, 8, 3)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (layers.Input((3,)), torch.randn(2, 3)),
        (layers.Dense(4), torch.randn(2, 3)),
        (layers.Dense(4, "softmax"), torch.randn(2, 5, 3)),
        (layers.Dense(4, "relu", use_bias=False), torch.randn(2, 3)),
        (layers.Activation("swish"), torch.randn(2, 3)),
        (layers.Flatten(), IMAGE),
        (layers.Reshape((8, -1)), IMAGE),
        (layers.Dropout(0.5), IMAGE),
        (layers.BatchNormalization(), IMAGE),
        (layers.BatchNormalization(), torch.randn(5, 3)),
        *(
            (layers.Conv2D(4, kernel, strides, padding), IMAGE)
            for kernel in (1, 3, (2, 5))
            for strides in (1, 2, (3, 1))
            for padding in ("valid", "same")
        ),
        *(
            (layers.Conv2DTranspose(4, kernel, strides, padding), IMAGE)
            for kernel in (1, 3, (2, 5))
            for strides in (1, 2, (3, 1))
            for padding in ("valid", "same")
        ),
        (layers.MaxPooling2D(), IMAGE),
        (layers.MaxPooling2D(3, 2, "same"), IMAGE),
        (layers.UpSampling2D((2, 3)), IMAGE),
        (layers.UpSampling2D(2, "bilinear"), IMAGE),
    ],
)
def test_built_shape_is_the_outputs(layer, x):
    shape = layer.build(x.shape[1:])
    assert layer(x).shape == (len(x), *shape)
    assert layer.build(x.shape[1:]) == shape
    with pytest.raises(ValueError, match=r"input_shape: expected .* the layer was built, got"):
        layer.build((*x.shape[1:], 1))


def test_dense_is_a_linear_layer_with_keras_start():
    layer = layers.Dense(200, activation="tanh", input_shape=(100,))
    assert layer.input_shape == (100,)
    x = torch.randn(7, 100)
    y = layer(x)
    weight, bias = layer.linear.weight, layer.linear.bias
    torch.testing.assert_close(y, torch.tanh(torch.nn.functional.linear(x, weight, bias)))
    assert float(bias.detach().abs().max()) == 0
    assert float(weight.detach().abs().max()) == pytest.approx((6 / 300) ** 0.5, rel=1e-2)
    assert sum(p.numel() for p in layer.parameters()) == 100 * 200 + 200


def test_convolution_is_torchs():
    layer = layers.Conv2D(5, 3, activation="relu")
    y = layer(IMAGE)
    exact = torch.relu(layer.convolution(IMAGE.movedim(-1, 1)))
    torch.testing.assert_close(y.movedim(-1, 1), exact)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (4, 2), (1, 2), (3, 1), (5, 3)])
def test_transposed_convolution_is_the_transpose(padding, kernel, stride):
    # <conv(x), y> = <x, conv^T(y)> for images whose size is the stride's multiple.
    forward = layers.Conv2D(4, kernel, stride, padding, use_bias=False)
    outputs = 5
    size = outputs * stride + (max(kernel - stride, 0) if padding == "valid" else 0)
    x = torch.randn(1, size, size, 3, dtype=torch.float64)
    y = forward(x)
    back = layers.Conv2DTranspose(3, kernel, stride, padding, use_bias=False)
    grown = torch.randn_like(y)
    back(grown)
    with torch.no_grad():
        back.convolution.weight.copy_(forward.convolution.weight)
    x_again = back(grown)
    assert x_again.shape == x.shape
    torch.testing.assert_close((y * grown).sum(), (x * x_again).sum())


def test_same_padding_puts_the_odd_pixel_at_the_end():
    layer = layers.Conv2D(1, 2, padding="same", use_bias=False)
    layer.build((1, 3, 1))
    with torch.no_grad():
        layer.convolution.weight.copy_(torch.tensor([[[[1.0, 10.0], [0.0, 0.0]]]]))
    assert layer(torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)).flatten().tolist() == [
        21,
        32,
        3,
    ]


def test_batch_normalization_keeps_its_momentum():
    layer = layers.BatchNormalization(momentum=0.9)
    layer(torch.tensor([[1.0], [3.0]]))
    assert float(layer.norm.running_mean) == pytest.approx(0.1 * 2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Dense(0), "Dense: units: expected an integer >= 1, got 0"),
        (lambda: layers.Dense(2, "swosh"), "Dense: activation: expected one of .* got 'swosh'"),
        (lambda: layers.Dropout(1.0), "Dropout: rate: expected 0 <= rate < 1, got 1.0"),
        (lambda: layers.Conv2D(2, (3, 3, 3)), "Conv2D: kernel_size: expected one or two integers"),
        (
            lambda: layers.Conv2D(2, 3, padding="full"),
            "Conv2D: padding: expected 'valid' or 'same'",
        ),
        (
            lambda: layers.Conv2D(2, 3)(torch.ones(1, 4)),
            r"Conv2D: input_shape: expected \(height, wi",
        ),
        (lambda: layers.Conv2D(2, 30)(IMAGE), "Conv2D: kernel_size: expected kernels no larger"),
        (lambda: layers.MaxPooling2D(30)(IMAGE), "MaxPooling2D: pool_size: expected windows no la"),
        (
            lambda: layers.Reshape((5, 7))(IMAGE),
            "Reshape: target_shape: expected 216 elements as in",
        ),
        (
            lambda: layers.UpSampling2D(2, "cubic"),
            "UpSampling2D: interpolation: expected 'nearest'",
        ),
    ],
)
def test_wrong_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()
