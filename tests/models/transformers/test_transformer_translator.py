"""The transformer that translates: it sees what it should, and finds what is probable."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch

from pyneural.data import Vocabulary, reversal
from pyneural.models import TransformerTranslator, teacher_forced
from pyneural.training import losses
from pyneural.training.callbacks import WarmUp

SYMBOLS, STEPS = 6, 4


def network(**options):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "heads": 2, "layers": 2, "dim_feedforward": 32, "dropout": 0.0}
    net = TransformerTranslator(9, SYMBOLS, STEPS, **(sizes | options)).double().eval()
    for parameter in net.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return net


def texts(rows=5, length=7):
    x = torch.randint(3, 9, (rows, length), generator=torch.Generator().manual_seed(1))
    x[1, 4:] = 0
    return x


@pytest.mark.parametrize("norm_first", [False, True])
def test_greedy_says_what_is_most_probable_after_what_it_said(norm_first):
    net, x = network(norm_first=norm_first), texts()
    said = net.translate(x)
    p = net(teacher_forced(x, said))
    for row, (codes, best) in enumerate(zip(said.tolist(), p.argmax(-1).tolist(), strict=True)):
        end = codes.index(2) + 1 if 2 in codes else STEPS
        assert codes[:end] == best[:end], row
        assert set(codes[end:]) <= {0}


def test_a_full_beam_finds_the_most_probable_of_all():
    net, x = network(), texts()
    net.steps = 2
    beams = net.translate(x, beams=SYMBOLS)
    for row in range(len(x)):
        everything = [
            (a, b) for a, b in itertools.product(range(SYMBOLS), repeat=2) if a != 2 or b == 0
        ]
        y = torch.tensor(everything)
        p = net(teacher_forced(x[row].expand(len(y), -1), y))
        chance = p.gather(-1, y[..., None]).squeeze(-1)
        chance[:, 1] = torch.where(y[:, 0] == 2, 1.0, chance[:, 1])  # after the end nothing comes
        assert tuple(beams[row].tolist()) == everything[int(chance.prod(1).argmax())]


def test_what_is_seen():
    net, x = network(), texts()
    y = torch.randint(3, SYMBOLS, (5, STEPS))
    p = net(teacher_forced(x, y))
    later = y.clone()
    later[:, 2:] = (later[:, 2:] - 2) % 3 + 3
    changed = net(teacher_forced(x, later))
    torch.testing.assert_close(changed[:, :3], p[:, :3])
    assert not torch.allclose(changed[:, 3], p[:, 3])
    assert not torch.allclose(network(causal=False)(teacher_forced(x, later))[:, :3], p[:, :3])
    padded = torch.cat([x, torch.zeros(5, 2, dtype=x.dtype)], 1)
    torch.testing.assert_close(net(teacher_forced(padded, y)), p)
    swapped = x[:, [1, 0, *range(2, 7)]]
    assert not torch.allclose(net(teacher_forced(swapped, y)), p)
    blind = network(positions=False)
    torch.testing.assert_close(blind(teacher_forced(swapped, y)), blind(teacher_forced(x, y)))


def test_attention_maps():
    net, x = network(), texts()
    y = torch.randint(3, SYMBOLS, (5, STEPS))
    before = net(teacher_forced(x, y))
    maps = net.attention(x, y)
    assert maps.shape == (2, 5, 2, STEPS, 7)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 5, 2, STEPS, dtype=maps.dtype))
    assert not maps[:, 1, :, :, 4:].any()
    torch.testing.assert_close(net(teacher_forced(x, y)), before)


def test_it_learns_to_say_backwards():
    torch.manual_seed(0)
    given, answers = reversal(1500)
    letters = Vocabulary(given)
    x, y = letters.encode(given), letters.encode(answers)
    net = TransformerTranslator(len(letters), len(letters), y.shape[1], layers=1, dropout=0.0)
    smoothed = partial(losses.sparse_categorical_crossentropy, label_smoothing=0.1)
    net.compile(partial(torch.optim.Adam, lr=3e-3), smoothed)
    options = {"batch_size": 50, "epochs": 8, "verbose": 0, "callbacks": [WarmUp(40)]}
    history = net.fit(teacher_forced(x, y), y, **options)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_errors():
    with pytest.raises(ValueError, match="beams: expected 1 to 6, the vocabulary size, got 7"):
        network().translate(texts(), beams=7)
    with pytest.raises(ValueError, match="WarmUp: steps: expected >= 1, got 0"):
        WarmUp(0)


def test_label_smoothing_is_torchs():
    p = torch.rand(5, 4, 3, dtype=torch.float64).softmax(-1)
    y = torch.randint(3, (5, 4))
    found = losses.sparse_categorical_crossentropy(p, y, label_smoothing=0.2)
    expected = torch.nn.functional.cross_entropy(
        p.log().movedim(-1, 1), y, reduction="none", label_smoothing=0.2
    )
    torch.testing.assert_close(found, expected)
