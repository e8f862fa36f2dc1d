"""What random calls of the ops are made of, drawn by a seed."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

OPS = torch.ops.pyneural
SIZES = (0, 1, 2, 3, 5, 8, 17, 33)
FULL = (torch.float32, torch.float64)
WITH_REDUCED = (*FULL, torch.bfloat16, torch.float16)


class Draw:
    """What a call is made of, as the seed has it."""

    def __init__(self, seed: str, sizes: tuple[int, ...] = SIZES) -> None:
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(self.random.getrandbits(60))
        self.sizes = sizes

    def size(self, least: int = 0) -> int:
        return self.random.choice([size for size in self.sizes if size >= least])

    def choice(self, values: Any) -> Any:
        return self.random.choice(list(values))

    def maybe(self, value: Any) -> Any:
        return value if self.random.random() < 0.6 else None

    def bools(self, count: int) -> list[bool]:
        return [self.random.random() < 0.7 for _ in range(count)]

    def normal(self, dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(dtype)

    def mask(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator) > 0.4
