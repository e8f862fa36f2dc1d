"""Activation maximisation, latent traversal, attention rollout, deletion, ranks."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import interpret, nn
from pyneural.errors import ArgumentError
from pyneural.models import TransformerTranslator, VariationalAutoencoder
from tests.interpret.networks import autoencoder, image_network, series_network


class Along(torch.nn.Module):
    """w x of each sample."""

    def __init__(self, *weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return x @ self.weight


def test_ascent_ends_at_the_bounds():
    found = interpret.activation_maximisation(Along(1.0, -2.0, 0.5), (2, 3), bounds=(-1, 3))
    assert found.tolist() == [[3, -1, 3], [3, -1, 3]]


def test_decay_and_roughness_have_their_optimum():
    model = Along(1.0, -2.0, 0.5)
    found = interpret.activation_maximisation(
        model, (1, 3), bounds=(-3, 3), decay=0.5, steps=600, rate=2e-3
    )
    assert torch.allclose(found, torch.tensor([[1.0, -2.0, 0.5]]), atol=1e-2)
    smooth = interpret.activation_maximisation(
        model, (1, 3), bounds=(-3, 3), decay=0.5, roughness=1.0, along=(1,), steps=600, rate=2e-3
    )
    # The gradient of w x - x^2 / 2 - (x_1 - x_0)^2 - (x_2 - x_1)^2 is zero.
    matrix = torch.tensor([[3.0, -2, 0], [-2, 5, -2], [0, -2, 3]])
    exact = torch.linalg.solve(matrix, model.weight.detach())
    assert torch.allclose(smooth[0], exact, atol=1e-2)


def test_ascent_is_seeded_bounded_and_keeps_the_best():
    model = image_network()
    shape, options = (3, 2, 8, 8), {"bounds": (0.2, 0.7), "rate": 2.0}
    target = torch.arange(3)

    def run(**more):
        return interpret.activation_maximisation(model, shape, target, **options, **more)

    found = run(steps=20)
    assert torch.equal(found, run(steps=20))
    assert not torch.equal(run(steps=1), run(steps=1, seed=1))
    assert found.min() >= 0.2
    assert found.max() <= torch.tensor(0.7)
    values = []
    for steps in (1, 5, 20):
        scores = model.eval()(run(steps=steps)).diagonal()
        values.append(scores.detach())
    assert bool((values[1] >= values[0]).all())  # though such long steps overshoot
    assert bool((values[2] >= values[1]).all())
    assert run(steps=1).dtype == torch.float32
    assert interpret.activation_maximisation(
        model.double(), shape, target, **options, steps=1
    ).dtype == torch.float64  # fmt: skip


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"bounds": (1.0, 0.0)}, "bounds"),
        ({"bounds": (0.0, math.inf)}, "bounds"),
        ({"shape": (0, 3)}, "shape"),
        ({"shape": (2, 3.0)}, "shape"),
        ({"steps": 0}, "steps"),
        ({"rate": 0.0}, "rate"),
        ({"decay": -1.0}, "decay"),
        ({"roughness": math.nan}, "roughness"),
        ({"roughness": 1.0, "along": (0,)}, "along"),
        ({"roughness": 1.0, "along": (2,)}, "along"),
    ],
)
def test_ascents_that_are_refused(options, word):
    given = {"shape": (2, 3), "bounds": (0.0, 1.0)} | options
    with pytest.raises(ArgumentError, match=f"activation_maximisation: {word}"):
        interpret.activation_maximisation(Along(1.0, 2.0, 3.0), **given)


def test_traversal_changes_one_coordinate():
    values, z = torch.tensor([-1.0, 0.0, 2.0]), torch.randn(4, 2)
    model = autoencoder()
    vae = VariationalAutoencoder([6, 8, 2], "bernoulli").train()
    for net, decode in ((model, model.decode), (vae, lambda z: vae.decode(z).mean)):
        found = interpret.latent_traversal(net, z, 1, values)
        assert found.shape == (4, 3, 6)
        for n in range(4):
            for k in range(3):
                one = torch.stack([z[n, 0], values[k]])[None]
                assert torch.allclose(found[n, k], decode(one)[0], atol=1e-6)
    assert not found.requires_grad


class Decoder(torch.nn.Module):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def decode(self, z):
        return self.result(z)


@pytest.mark.parametrize(
    ("model", "z", "coordinate", "values", "word"),
    [
        (torch.nn.Linear(2, 2), torch.zeros(1, 2), 0, torch.zeros(3), "method decode"),
        (autoencoder().half(), torch.zeros(1, 2), 0, torch.zeros(3), "float16"),
        (autoencoder(), torch.zeros(2), 0, torch.zeros(3), "z: expected"),
        (autoencoder(), torch.zeros(1, 2).long(), 0, torch.zeros(3), "z: expected"),
        (autoencoder(), torch.zeros(1, 2), 2, torch.zeros(3), "coordinate: expected 0 to 1"),
        (autoencoder(), torch.zeros(1, 2), 0, torch.zeros(3, 1), "values"),
        (autoencoder(), torch.zeros(1, 2), 0, torch.zeros(0), "values"),
        (Decoder(list), torch.zeros(1, 2), 0, torch.zeros(3), "got list"),
        (Decoder(lambda z: z.argmax(1)), torch.zeros(1, 2), 0, torch.zeros(3), "got int64"),
        (Decoder(lambda z: z[:1]), torch.zeros(1, 2), 0, torch.zeros(3), "row for each"),
        (Decoder(lambda z: z / 0), torch.zeros(1, 2), 0, torch.zeros(3), "NaN"),
    ],
)
def test_traversals_that_are_refused(model, z, coordinate, values, word):
    with pytest.raises(ArgumentError, match=word):
        interpret.latent_traversal(model, z, coordinate, values)


@pytest.mark.parametrize("library", [torch.nn, nn])
@pytest.mark.parametrize("masked", [False, True])
def test_rollout_by_hand(library, masked):
    torch.manual_seed(0)
    layers = [library.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3)]
    model = torch.nn.Sequential(*layers) if not masked else library.TransformerEncoder(layers[0], 2)
    model.eval()
    x = torch.randn(2, 5, 8)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]) if masked else None
    options = {"src_key_padding_mask": padding} if masked else {}
    found = interpret.attention_rollout(model, x, **options)
    expected, h = torch.eye(5).expand(2, 5, 5), x
    for layer in model.layers if masked else model:
        _, weights = layer.self_attn(h, h, h, key_padding_mask=padding)  # mean over heads
        expected = (weights + torch.eye(5)) / 2 @ expected
        h = layer(h, **options)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(found.sum(2), torch.ones(2, 5), atol=1e-5)
    if masked:
        assert found[1, :3, 3:].abs().max() < 1e-7


def test_rollout_of_both_libraries_agrees():
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)  # [T, N, E]
    theirs = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False
    )
    theirs.load_state_dict(ours.state_dict())
    x, mask = torch.randn(4, 3, 8), torch.ones(4, 4, dtype=torch.bool).triu(1)
    found = [interpret.attention_rollout(model, x, mask=mask) for model in (ours, theirs)]
    assert torch.allclose(*found, atol=1e-6)
    assert found[0].triu(1).abs().max() == 0
    unbatched = interpret.attention_rollout(ours, x[:, 0], mask=mask)
    assert torch.allclose(unbatched, found[0][:1], atol=1e-6)


def test_rollout_takes_tokens_and_encoders():
    model = TransformerTranslator(7, 7, steps=3, d_model=8, heads=2)
    tokens = torch.randint(1, 7, (2, 5))
    encoder = model.transformer.encoder
    assert interpret.attention_rollout(encoder, torch.rand(2, 5, 8)).shape == (2, 5, 5)
    with pytest.raises(ArgumentError, match="encoder alone"):
        interpret.attention_rollout(model, torch.cat([tokens, tokens[:, :3]], 1))


def test_rollouts_that_are_refused():
    with pytest.raises(ArgumentError, match="self-attention, got none"):
        interpret.attention_rollout(torch.nn.Linear(2, 2), torch.rand(1, 2))
    with pytest.raises(ArgumentError, match="float16"):
        interpret.attention_rollout(series_network().half(), torch.rand(1, 4, 2))

    class Extra(torch.nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, **options)

        def forward(self, x, **options):
            return self.attention(x, x, x, **options)[0]

    with pytest.raises(ArgumentError, match="learned keys"):
        interpret.attention_rollout(Extra(add_bias_kv=True), torch.rand(3, 2, 4))
    with pytest.raises(ArgumentError, match="KeyValueCache"):
        interpret.attention_rollout(Extra(), torch.rand(3, 2, 4), cache=nn.KeyValueCache())
    bad = Extra()
    torch.nn.init.constant_(bad.attention.in_proj_weight, torch.nan)
    with pytest.raises(ArgumentError, match="weights: expected finite"):
        interpret.attention_rollout(bad, torch.rand(3, 2, 4))


def test_deletion_and_insertion_by_hand():
    model = Along(1.0, 10.0, 100.0, 1000.0)
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    order = torch.tensor([[0.0, 3.0, -1.0, 2.0], [4.0, 3.0, 2.0, 1.0]])
    b = torch.tensor([0.0, 1.0, 0.0, 0.0])
    deleted = interpret.deletion_curve(model, x, order, baseline=b)
    assert deleted.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert deleted.values.T.tolist() == [[4321, 4311, 311, 310, 10], [1111, 1110, 1110, 1010, 10]]
    assert deleted.area.tolist() == [(4321 / 2 + 4311 + 311 + 310 + 5) / 4,
                                     (1111 / 2 + 1110 + 1110 + 1010 + 5) / 4]  # fmt: skip
    inserted = interpret.insertion_curve(model, x, order, baseline=b)
    assert inserted.values.T.tolist() == [[10, 20, 4020, 4021, 4321], [10, 11, 11, 111, 1111]]
    two = interpret.deletion_curve(model, x, order, baseline=b, steps=2)
    assert two.values.T.tolist() == [[4321, 311, 10], [1111, 1110, 10]]


def test_curves_of_images_start_and_end_where_they_should(monkeypatch):
    model, x = image_network().eval(), torch.rand(4, 2, 8, 8)
    target = torch.tensor([0, 2, 1, 1])
    found = interpret.deletion_curve(model, x, torch.randn_like(x), target, steps=7)
    rows = torch.arange(4)
    assert torch.allclose(found.values[0], model(x)[rows, target].detach(), atol=1e-6)
    assert torch.allclose(found.values[-1], model(0 * x)[rows, target].detach(), atol=1e-6)
    assert found.fractions.shape == (8,)


def test_ranks_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(0, 6, (2, 5, 3, 7), generator=generator).double()  # many are equal
    b[0] = a[0].exp()
    b[1] = -a[1]
    found = interpret.rank_correlation(a, b)
    rows = zip(a.flatten(1), b.flatten(1), strict=True)
    assert found.tolist() == pytest.approx([stats.spearmanr(*row).statistic for row in rows])
    assert found[:2].tolist() == pytest.approx([1, -1])
    assert interpret.rank_correlation(torch.ones(1, 3), torch.rand(1, 3)).isnan().all()
    with pytest.raises(ArgumentError, match="rank_correlation"):
        interpret.rank_correlation(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ArgumentError, match="two elements"):
        interpret.rank_correlation(torch.ones(2, 1), torch.ones(2, 1))
