from __future__ import annotations

from functools import partial

import pytest

from bench import probes


@pytest.fixture(autouse=True)
def short_measures(monkeypatch):
    """What the machine can do at most is measured as always, but not well."""
    copy, probe = probes.copy_bandwidth, probes.multiply_add_probe
    monkeypatch.setattr(probes, "copy_bandwidth", partial(copy, bytes_=1 << 20))
    monkeypatch.setattr(
        probes, "multiply_add_probe", lambda dtype, threads, *_: probe(dtype, threads, 0.001)
    )
    monkeypatch.setattr("bench.harness.TURN_SECONDS", 0.001)
