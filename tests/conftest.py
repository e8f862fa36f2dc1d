from __future__ import annotations

import pytest
import torch
from hypothesis import settings

# The first call of an op and a busy machine are no failures.
settings.register_profile("pyneural", deadline=None, derandomize=True)
settings.load_profile("pyneural")

_NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=_NO_CUDA)])
def device(request):
    return request.param


@pytest.fixture
def threads():
    """torch.set_num_threads, put back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
