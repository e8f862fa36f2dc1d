import time

import pytest


@pytest.fixture
def clock(monkeypatch):
    """A list of the time, which stands still."""
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now
