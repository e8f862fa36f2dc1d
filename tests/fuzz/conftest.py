from __future__ import annotations

import random

import pytest


@pytest.fixture(scope="session")
def fuzz_seed(request):
    """That of --fuzz-seed, else a new one a run; shown where a test fails."""
    given = request.config.getoption("--fuzz-seed")
    return random.SystemRandom().randrange(10**6) if given is None else given


@pytest.fixture(scope="session")
def fuzz_seconds(request):
    """How long a fuzzer goes on."""
    return request.config.getoption("--fuzz-seconds")
