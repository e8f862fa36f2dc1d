"""Models that scripts of users work on, and what is found with torch.nn and with nn."""

from __future__ import annotations

from itertools import pairwise

import torch

from pyneural import nn

FLOAT64 = {"rtol": 1e-9, "atol": 1e-10}


class Classifier(torch.nn.Module):
    """Convolution, recurrence, attention and linear layers, as scripts mix them."""

    def __init__(self, nn):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU())
        self.lstm = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True),
            num_layers=2,
            enable_nested_tensor=False,
        )
        self.head = nn.Sequential(
            nn.LazyLinear(12), nn.Tanh(), nn.Linear(12, 12), nn.Dropout(0.0), nn.Linear(12, 3)
        )

    def forward(self, x):
        h, _ = self.lstm(self.embed(x))
        return self.head(self.encoder(h).mean(1))


class Perceptron(torch.nn.Module):
    def __init__(self, nn):
        super().__init__()
        widths = 6, 16, 16, 3
        layers = [nn.Linear(*sizes) for sizes in pairwise(widths)]
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x.mean(1))


class Seq2Seq(torch.nn.Module):
    def __init__(self, nn):
        super().__init__()
        self.front = nn.Linear(6, 8)
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
        self.cell = nn.GRUCell(8, 3)

    def forward(self, x):
        x = self.front(x)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.cell(self.transformer(x, x, tgt_mask=mask, tgt_is_causal=True)[:, -1])


class Tokens(torch.nn.Module):
    """Attention without recurrence, which torch can vmap."""

    def __init__(self, nn):
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(self.embed(x)).mean(1))


MODELS = (Classifier, Perceptron, Seq2Seq, Tokens)


def data(seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(10, 5, 6, dtype=torch.float64, generator=generator)
    return x, torch.randint(3, (10,), generator=generator)


def built(package, make, seed=0):
    torch.manual_seed(seed)
    model = make(package).double()
    model(data()[0])  # lazy layers
    return model


class LoRA(torch.nn.Module):
    """A low-rank change beside a frozen linear layer."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        where = {"dtype": base.weight.dtype}
        self.down = torch.nn.Parameter(0.1 * torch.randn(2, base.in_features, **where))
        self.up = torch.nn.Parameter(0.1 * torch.randn(base.out_features, 2, **where))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def losses(model, steps=4):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    x, y = data()
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
    return found


def check_equal_numbers(script, make):
    """A script takes the package and the model, and returns what it found."""
    found = []
    for package in (torch.nn, nn):
        model = built(package, make)
        torch.manual_seed(2)
        found.append(script(package, model))
    assert len(found[0]) > 0
    torch.testing.assert_close(found[1], found[0], **FLOAT64)
