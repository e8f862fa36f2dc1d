from __future__ import annotations

import pytest
import torch
from hypothesis import settings

# The first call of an op and a busy machine are no failures.
settings.register_profile("pyneural", deadline=None, derandomize=True)
settings.load_profile("pyneural")


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return request.param


@pytest.fixture
def threads():
    """torch.set_num_threads, put back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
