"""Data sets of images: sizes, ranges, the cache, and what is said without scikit-learn."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from pyneural import data


def test_digits():
    sklearn = pytest.importorskip("sklearn.datasets")
    (x, y), (x_test, y_test) = data.digits()
    assert x.shape == (1437, 28, 28)
    assert x_test.shape == (360, 28, 28)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert x.min() == 0
    assert x.max() == 1
    assert set(y.tolist()) == set(y_test.tolist()) == set(range(10))
    small = torch.from_numpy(sklearn.load_digits().images[:1437]).float() / 16
    back = torch.nn.functional.interpolate(x[:, None], (8, 8), mode="area")[:, 0]
    assert (back - small).abs().mean() < 0.1


def openml(calls):
    def fetch(name, **options):
        calls.append(name)
        pixels = np.zeros((70_000, 784), np.uint8)
        pixels[:, 5] = 255
        return SimpleNamespace(data=pixels, target=np.array(["7"] * 70_000, object))

    return SimpleNamespace(fetch_openml=fetch)


def test_mnist_is_fetched_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "sklearn.datasets", openml(calls))
    for _ in range(2):
        (x, y), (x_test, y_test) = data.mnist(tmp_path / "new")
    assert calls == ["mnist_784"]
    assert x.shape == (60_000, 28, 28)
    assert x_test.shape == (10_000, 28, 28)
    assert x[0, 0, 5] == 1
    assert x[0].sum() == 1
    assert y[0] == 7
    assert y_test.dtype == torch.int64
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mnist.safetensors"]


def test_no_network_is_one_line(tmp_path, monkeypatch):
    def fetch(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setitem(sys.modules, "sklearn.datasets", SimpleNamespace(fetch_openml=fetch))
    with pytest.raises(ConnectionError, match=r"no route to host.*use data\.digits") as caught:
        data.mnist(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_cache_is_refused(tmp_path):
    (tmp_path / "mnist.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"data\.mnist: cache: .* delete it"):
        data.mnist(tmp_path)


@pytest.mark.parametrize("load", [data.digits, data.mnist])
def test_missing_scikit_learn_names_the_remedy(load, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'pyneural\[data\]'"):
        load()
