from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def seed(request):
    """That of --seed; shown where a test fails."""
    return request.config.getoption("--seed")


@pytest.fixture(scope="session")
def fuzz_seconds(request):
    """How long a fuzzer goes on."""
    return request.config.getoption("--fuzz-seconds")
