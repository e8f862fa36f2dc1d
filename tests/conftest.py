from __future__ import annotations

import os
import signal

import pytest
import torch

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # a machine that is lent may have pytest alone: the other tests run
    pass
else:
    # The first call of an op and a busy machine are no failures.
    slow = [HealthCheck.too_slow]
    settings.register_profile(
        "pyneural", deadline=None, derandomize=True, suppress_health_check=slow
    )
    settings.load_profile("pyneural")


def pytest_addoption(parser):
    group = parser.getgroup("fuzzers")
    seed = "of tests/fuzz, as a failure prints it (default 0: the tests stay the same)"
    group.addoption("--fuzz-seed", type=int, default=0, help=seed)
    seconds = "how long each fuzzer goes on (default 5; an hour: 3600)"
    group.addoption("--fuzz-seconds", type=float, default=5.0, help=seconds)


# Processes that share out the tests share the processors too, and so do those that they start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return request.param


@pytest.fixture
def threads():
    """torch.set_num_threads, put back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def listening():
    """Ctrl-C is an exception, also in a background job, whose shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
