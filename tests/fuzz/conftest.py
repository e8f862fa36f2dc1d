from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def fuzz_seed(request):
    """That of --fuzz-seed; shown where a test fails."""
    return request.config.getoption("--fuzz-seed")


@pytest.fixture(scope="session")
def fuzz_seconds(request):
    """How long a fuzzer goes on."""
    return request.config.getoption("--fuzz-seconds")
