"""Online classification of a video, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import wholes
from pyneural.training import Model


class FrameClassifier(Model):
    """The class of each frame of a video, from this frame and those before it.

        h_t = GRU(relu(W x_t + b), h_(t-1)),  p_t = softmax(V h_t + c)

    Args:
        pixels: number of pixels of a frame.
        classes: number of classes K.
        hidden: units H of each layer.

    Shape:
        x [N, T, ...] with ``pixels`` elements in each frame, to p [N, T, K].

    Source: Donahue et al., arXiv:1411.4389 (2014), who encode the frames with convolutions.

    >>> net = FrameClassifier(pixels=144, classes=5, hidden=8)
    >>> x = torch.rand(2, 7, 12, 12)
    >>> p, state = net(x), None
    >>> for t in range(7):  # as the frames arrive
    ...     p_t, state = net.step(x[:, t], state)
    ...     assert torch.allclose(p_t, p[:, t], atol=1e-6)
    """

    def __init__(self, pixels: int, classes: int, hidden: int) -> None:
        super().__init__()
        pixels, classes, hidden = wholes(
            "FrameClassifier", pixels=pixels, classes=classes, hidden=hidden
        )
        self.encoder = nn.Linear(pixels, hidden, activation="relu")
        self.recurrent = nn.GRU(hidden, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities [N, T, K] of all frames."""
        return self._run(x, None)[0]

    @torch.no_grad()
    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Class probabilities [N, K] of one frame [N, ...], and the state [1, N, H] after it.

        Args:
            x: the frame.
            state: the state returned for the previous frame; None for the first frame.
        """
        p, state = self._run(x[:, None], state)
        return p[:, 0], state

    def _run(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        h, state = self.recurrent(self.encoder(x.flatten(2)), state)
        return self.readout(h).softmax(-1), state
