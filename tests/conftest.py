from __future__ import annotations

import contextlib
import os
import signal
import time
import zlib
from importlib import import_module
from pathlib import Path

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


PACKAGE = Path(__file__).parents[1] / "pyneural"


def pytest_addoption(parser):
    group = parser.getgroup("random inputs")
    seed = "of torch's generator in each test, and of the fuzzers, which print it (default 0)"
    group.addoption("--seed", type=int, default=0, help=seed)
    seconds = "how long each fuzzer goes on (default 5; an hour: 3600)"
    group.addoption("--fuzz-seconds", type=float, default=5.0, help=seconds)


def pytest_collection(session):
    """Imports modules whose doctests are asked for, as users do.

    pytest itself would load one a second time, after the package that it belongs to has.
    """
    for argument in session.config.args:
        path = (session.config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if path.suffix == ".py" and path.stem != "__init__" and path.is_relative_to(PACKAGE):
            with contextlib.suppress(ImportError):  # of a package that is missing
                import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))


# Processes that share out the tests share the processors too, and so do those that they start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return request.param


@pytest.fixture(autouse=True)
def drawn_alike(request):
    """What a test draws without a generator of its own does not depend on the tests before it."""
    seed = f"{request.config.getoption('--seed')} {request.node.nodeid}"
    torch.manual_seed(zlib.crc32(seed.encode()))


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


@pytest.fixture
def clock(monkeypatch):
    """A list of the time, which stands still."""
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now
