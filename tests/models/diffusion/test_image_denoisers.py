"""The denoisers of images: against torch's layers, conditions, sizes, refusals."""

import math

import pytest
import torch

from bench.peers.torch_layers import of_torch
from pyneural.errors import ArgumentError
from pyneural.models import (
    DDPM,
    FlowMatching,
    NoiseSchedule,
    TransformerDenoiser,
    UNetDenoiser,
    load_model,
)
from pyneural.models.diffusion.image_denoiser import TimeEmbedding
from pyneural.models.diffusion.unet import PixelAttention
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

SHAPE = (2, 8, 12)


def unet(shape=SHAPE, **options):
    return UNetDenoiser(shape, 8, (1, 2), heads=2, **options)


def transformer(shape=SHAPE, **options):
    return TransformerDenoiser(shape, 2, 16, 2, 2, **options)


NETWORKS = {"unet": unet, "transformer": transformer}
for_both = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
CONDITIONS = {"none": {}, "columns": {"condition": 3}, "image": {"condition_channels": 1}}
for_conditions = pytest.mark.parametrize("options", CONDITIONS.values(), ids=CONDITIONS)


def woken(network):
    """With weights that are zero at first drawn at random, so that each matters."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return network


def inputs(options, count=3, shape=SHAPE, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, *shape, generator=generator, dtype=dtype)
    t = torch.rand(count, generator=generator, dtype=dtype)
    sizes = {"condition": (3,), "condition_channels": (1, *shape[1:])}
    (size,) = [sizes[name] for name in options] or [None]
    c = size and torch.randn(count, *size, generator=generator, dtype=dtype)
    return x, t, c


@for_both
@for_conditions
def test_value_and_gradient_of_torchs_layers(make, options, device):
    torch.manual_seed(0)
    network = woken(make(**options)).to(device, torch.float64)
    results = []
    theirs = of_torch(network)
    kinds = {type(m) for m in theirs.modules()}
    assert torch.nn.MultiheadAttention in kinds
    assert not [kind for kind in kinds if kind.__module__ == "pyneural.nn.multihead_attention"]
    for one in (network, theirs):
        given = [None if v is None else v.to(device) for v in inputs(options)]
        given[0].requires_grad_()
        y = one(*given)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=device).reshape(y.shape)
        (y * weights).sum().backward()
        results.append((y, given[0].grad, {n: p.grad for n, p in one.named_parameters()}))
    (y, of_x, grads), (their_y, their_of_x, their_grads) = results
    assert y.shape == given[0].shape
    assert y.std() > 0.1
    assert_close(y, their_y, FLOAT64)
    assert_close(of_x, their_of_x, FLOAT64_GRADIENT)
    for name, grad in grads.items():
        assert_close(grad, their_grads[name], FLOAT64_GRADIENT)


@for_both
def test_an_untrained_network_says_nothing(make):
    x, t, _ = inputs({}, dtype=torch.float32)
    assert not make()(x, t).any()


@for_both
@for_conditions
def test_everything_given_matters(make, options):
    torch.manual_seed(0)
    network = woken(make(**options)).double()
    x, t, c = inputs(options)
    y = network(x, t, c)
    changed = network(x.flip(3), t, c), network(x, 1 - t, c)
    changed += () if c is None else (network(x, t, 2 * c),)
    for other in changed:
        assert (other - y).flatten(1).norm(dim=1).min() > 1e-3
    # The images of a batch do not see each other.
    assert_close(network(x[1:2], t[1:2], c if c is None else c[1:2]), y[1:2], FLOAT64)


@for_both
def test_images_of_another_size(make):
    torch.manual_seed(0)
    network = woken(make(condition_channels=1))
    for size in ((8, 8), (14, 28), (32, 20)):
        x, t, c = inputs({"condition_channels": 1}, shape=(2, *size), dtype=torch.float32)
        assert network(x, t, c).shape == x.shape


@pytest.mark.parametrize(
    ("factors", "size"), [((1,), 7), ((1, 2), 14), ((1, 2, 2), 28), ((1, 1, 2, 2), 64)]
)
def test_sizes_of_a_unet(factors, size):
    torch.manual_seed(0)
    network = UNetDenoiser((1, size, size), 8, factors, 2, attention=min(2, len(factors)))
    assert woken(network)(torch.randn(2, 1, size, size), torch.rand(2)).isfinite().all()


def test_time_embedding():
    """The first layer sees Vaswani's positions, at 1000 t."""
    embedding = TimeEmbedding(6, 4).double()
    t = torch.tensor([0.0, 0.003, 1.0], dtype=torch.float64)
    seen = []
    embedding.of_time.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    embedding(t)
    expected = [
        [
            wave(1000 * float(one) / 10_000 ** (2 * i / 6))
            for i in range(3)
            for wave in (math.sin, math.cos)
        ]
        for one in t
    ]
    assert_close(seen[0], torch.tensor(expected, dtype=torch.float64), FLOAT64)


def test_places_of_patches():
    """Patches of one row share half of their place, those of one column the other."""
    places = transformer().places(4, 6, torch.empty(0)).unflatten(0, (4, 6))
    assert_close(places[:, :, :8], places[:, :1, :8].expand(-1, 6, -1), 0.0)
    assert_close(places[:, :, 8:], places[:1, :, 8:].expand(4, -1, -1), 0.0)
    flat = places.flatten(0, 1)
    assert torch.cdist(flat, flat).fill_diagonal_(1).min() > 0.1


def test_attention_does_not_know_where_pixels_are():
    """Pixels in another order give the same, in that order."""
    torch.manual_seed(0)
    layer = PixelAttention(8, 2).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    y = layer(x)
    assert (y - x).abs().min() > 0
    assert_close(layer(x.transpose(2, 3)), y.transpose(2, 3), FLOAT64)
    order = torch.randperm(15)
    shuffled = x.flatten(2)[:, :, order].unflatten(2, (3, 5))
    assert_close(layer(shuffled).flatten(2), y.flatten(2)[:, :, order], FLOAT64)


def test_a_patch_stays_where_it_is():
    """Layers add nothing at first: a pixel matters in its own patch alone."""
    torch.manual_seed(0)
    network = transformer()
    network.last.weight.data.normal_()
    x, t, _ = inputs({}, dtype=torch.float32)
    changed = x.clone()
    changed[:, 1, 5, 7] += 1
    differs = (network(changed, t) != network(x, t)).any(1).nonzero()
    assert differs[:, 1].unique().tolist() == [4, 5]
    assert differs[:, 2].unique().tolist() == [6, 7]


@for_both
def test_it_learns_a_class_of_images(make):
    """Dark and bright images by their class, in the units of the data."""
    torch.manual_seed(0)
    y = torch.arange(400) % 2
    x = (10 + 6 * torch.rand(400, 1, 4, 4)) * y[:, None, None, None]
    model = DDPM(
        make((1, 4, 4), condition=2), "cosine", "v", steps=50, drop_condition=0.1, bounds=(0, 16)
    )
    model.compile(lambda parameters: torch.optim.Adam(parameters, 1e-2))
    model.fit(x, y, epochs=20, batch_size=100, verbose=0)
    found = model.sample(100, torch.arange(100) % 2, steps=10, eta=0.0, clip=True)
    dark, bright = found[0::2].flatten(1).mean(1), found[1::2].flatten(1).mean(1)
    assert float(dark.mean()) == pytest.approx(0, abs=1)
    assert float(bright.mean()) == pytest.approx(13, abs=1)
    assert (bright > dark.max()).float().mean() > 0.9
    assert found.min() >= 0
    assert found.max() <= 16


@pytest.mark.parametrize("clip", [False, True])
def test_trajectory_of_a_sample(clip):
    """Each point but the noise is a step from the last one, as the definition of DDIM has it."""
    torch.manual_seed(0)
    model = DDPM(woken(unet((1, 4, 4))), "cosine", "v", steps=50, bounds=(0, 2)).double()
    torch.manual_seed(1)
    points = model.trajectory(3, steps=[40, 20, 5], eta=0.0, clip=clip)
    torch.manual_seed(1)
    assert torch.equal(points[-1], model.sample(3, steps=[40, 20, 5], eta=0.0, clip=clip))
    x, outside = points - 1, False
    schedule = NoiseSchedule.cosine(50)
    for i, (t, s) in enumerate([(40, 20), (20, 5), (5, 0)]):
        alpha, sigma = schedule.alpha[t], schedule.sigma[t]
        with torch.no_grad():
            v = model.eval()(x[i], torch.full((3,), t / 50, dtype=torch.float64))
        x0 = alpha * x[i] - sigma * v
        outside |= bool(x0.abs().max() > 1)
        x0 = x0.clamp(-1, 1) if clip else x0
        expected = schedule.alpha[s] * x0 + schedule.sigma[s] * (x[i] - alpha * x0) / sigma
        assert_close(x[i + 1], expected, FLOAT64)
    assert outside


def test_an_image_as_condition():
    """The sample is the negative of its condition, of whatever height and width that has."""
    torch.manual_seed(0)
    c = torch.rand(400, 1, 4, 4)
    network = UNetDenoiser((1, 4, 4), 8, (1,), heads=2, attention=0, condition_channels=1)
    model = DDPM(network, "cosine", "v", steps=50, bounds=(0, 1), drop_condition=0.1)
    model.compile(lambda parameters: torch.optim.Adam(parameters, 1e-2))
    model.fit(1 - c, c, epochs=20, batch_size=100, verbose=0)
    new = torch.rand(50, 1, 8, 5)
    found = model.sample(50, new, steps=10, eta=0.0)
    assert found.shape == new.shape
    assert (found - (1 - new)).square().mean().sqrt() < 0.5 * new.std()


@for_both
@pytest.mark.parametrize("kind", [DDPM, FlowMatching])
@for_conditions
def test_saved_and_loaded(make, kind, options, tmp_path):
    torch.manual_seed(0)
    model = kind(woken(make(**options)), bounds=(0, 16), drop_condition=0.25)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.get_config() == model.get_config()
    drawn = []
    for one in (model, again):
        torch.manual_seed(1)
        drawn.append(one.sample(3, inputs(options, dtype=torch.float32)[2], steps=2))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("kind", [DDPM, FlowMatching])
def test_bad_images_are_refused(kind):
    model = kind(unet((1, 8, 8), condition=3), bounds=(0, 16))
    model.compile("adam")
    y = torch.zeros(4, dtype=torch.long)
    refused = {
        r"\[N, 1, H, W\] .* halved once, got \[4, 8, 8\]; add the dim": torch.zeros(4, 8, 8),
        r"\[N, 1, H, W\] .* halved once, got \[4, 3, 8, 8\]": torch.zeros(4, 3, 8, 8),
        r"halved once, got \[4, 1, 7, 8\]; pad or crop": torch.zeros(4, 1, 7, 8),
        "values from 0 to 16, got 0 to 255": torch.tensor([0.0, 255.0]).expand(4, 1, 8, 2)
        .repeat(1, 1, 1, 4),
    }  # fmt: skip
    for text, x in refused.items():
        with pytest.raises(ValueError, match=text):
            model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        model.sample(2, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"c: expected \[2, 3\], got None"):
        model.sample(2)


def test_bad_conditions_of_images_are_refused():
    model = DDPM(unet((1, 8, 8), condition_channels=1))
    with pytest.raises(ValueError, match=r"images \[N, 1, H, W\] of floats, got \[2\] of torch.in"):
        model.sample(2, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"of floats, got \[2, 3, 8, 8\]"):
        model.sample(2, torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match="halved once"):
        model.sample(2, torch.rand(2, 1, 8, 7))
    with pytest.raises(ValueError, match="expected 2 of them, got 3"):
        model.sample(2, torch.rand(3, 1, 8, 8))
    with pytest.raises(ValueError, match=r"clip: expected a model with bounds"):
        model.sample(2, torch.rand(2, 1, 8, 8), clip=True)


@for_both
def test_networks_that_cannot_be(make):
    refused = [
        ({"shape": (1, 7, 8)}, "shape: expected"),
        ({"shape": (8, 8)}, r"\(channels, height, width\)"),
        ({"condition": -1}, "condition: expected a whole number >= 0"),
        ({"condition": 2, "condition_channels": 1}, "columns or an image, got both"),
    ]
    for options, text in refused:
        with pytest.raises(ArgumentError, match=text):
            make(**options)
    with pytest.raises(ArgumentError, match="0 to 2, got 3"):
        unet(attention=3)
    with pytest.raises(ArgumentError, match="even number, got 15"):
        TransformerDenoiser(SHAPE, d_model=15)
    with pytest.raises(ValueError, match="bounds"):
        DDPM(unet(), bounds=(1, 0))
    with pytest.raises(ValueError, match=r"got bounds \(0.0, 1.0\); make the model without"):
        DDPM(unet(), bounds=(0, 1)).set_scale(torch.rand(3, *SHAPE))
