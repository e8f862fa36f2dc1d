"""Arrays in files that are mapped into memory: the same results, and no copy of the whole."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyneural.training import Model, Sequential
from pyneural.training.data.adapter import DataAdapter

RANDOM = np.random.default_rng(0)
N, WIDTH = 20_000, 50  # 8 MB of float64
LARGE = 4 * N * WIDTH // 2  # bytes: half of all in float32


def mapped(path, array, dtype):
    file = np.lib.format.open_memmap(path, "w+", dtype, array.shape)
    file[:] = array
    file.flush()
    del file
    return np.load(path, mmap_mode="r")


class Largest(TorchDispatchMode):
    """The largest tensor that is made, in bytes, and the most memory that NumPy has held."""

    def __enter__(self):
        self.tensor = self.array = 0
        tracemalloc.start()
        return super().__enter__()

    def __exit__(self, *error):
        self.array = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor) and not value.is_meta:
                self.tensor = max(self.tensor, value.untyped_storage().nbytes())
        return made


def new_model(loss="mse", dtype=torch.float32, units=1):
    torch.manual_seed(0)
    model = Sequential([nn.Linear(WIDTH, units)]).to(dtype)
    model.compile("sgd", loss, ["mae"] if loss == "mse" else [])
    return model


def results(x, y, **options):
    model = new_model(**options)
    history = model.fit(x, y, 512, 2, validation_split=0.25, verbose=0)
    return history.history, model.evaluate(x, y, 512), model.predict(x, 512)


WHOLE = RANDOM.normal(size=(N, WIDTH)).astype("float32")


@pytest.mark.parametrize("dtype", ["<f8", ">f8", ">f4", "<f2"])
@pytest.mark.parametrize("target", ["other dtype", "x", "column", "in memory"])
def test_results_and_memory(tmp_path, dtype, target):
    x = mapped(tmp_path / "x.npy", WHOLE, dtype)
    rows = np.asarray(x, "float32")
    y, plain = {
        "other dtype": lambda: (mapped(tmp_path / "y.npy", rows[:, :1] * 2, dtype),) * 2,
        "x": lambda: (x, rows),
        "column": lambda: (mapped(tmp_path / "y.npy", rows[:, 0], dtype),) * 2,
        "in memory": lambda: (rows[:, :1].copy(),) * 2,
    }[target]()
    units = WIDTH if target == "x" else 1
    expected = results(rows, np.asarray(plain, "float32"), units=units)
    with Largest() as largest:
        found = results(x, y, units=units)
    assert found[0].keys() == expected[0].keys()
    for name, curve in expected[0].items():
        assert found[0][name] == pytest.approx(curve, rel=1e-6)
    assert found[1] == pytest.approx(expected[1], rel=1e-6)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5, atol=1e-6)
    predicted = found[2].nbytes if target == "x" else 0
    assert largest.tensor <= max(predicted, LARGE)
    assert largest.array <= predicted + LARGE


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_a_float32_file_is_read_in_place_and_others_by_batch(tmp_path, dtype):
    x = mapped(tmp_path / "x.npy", WHOLE, dtype)
    adapter = DataAdapter("fit", new_model(), None, 32)
    inputs = adapter.inputs(x, mapped=True)
    assert isinstance(inputs, torch.Tensor) == (dtype == "<f4")
    if dtype == "<f4":
        assert inputs.data_ptr() == x.ctypes.data


@pytest.mark.parametrize("part", [slice(3, 700), slice(None, None, 3), slice(None, None, -1)])
def test_parts_of_a_file(tmp_path, part):
    x = mapped(tmp_path / "x.npy", WHOLE[:2000], ">f8")[part]
    rows = np.ascontiguousarray(x, "float32")
    np.testing.assert_allclose(new_model().predict(x), new_model().predict(rows), rtol=1e-5)


def test_several_inputs_and_outputs(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 1)

        def forward(self, a, b):
            return {"one": self.a(a), "two": self.b(b)}

    found = []
    a, b = WHOLE[:3000], WHOLE[3000:6000]
    for kind in ("memory", "file"):
        torch.manual_seed(0)
        model = Model(Two())
        model.compile("sgd", {"one": "mse", "two": "mae"})
        x, y = {"a": a, "b": b}, {"one": a[:, :1], "two": b[:, 0]}
        if kind == "file":
            x["b"] = mapped(tmp_path / "b.npy", b, ">f4")
            y["two"] = mapped(tmp_path / "two.npy", b[:, 0], "<f8")
        weight = np.linspace(0, 1, 3000)
        history = model.fit(x, y, epochs=2, verbose=0, sample_weight=weight)
        found.append((history["loss"], history["two_loss"]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)


def test_whole_numbers(tmp_path):
    codes = RANDOM.integers(0, 7, (500, 4))
    labels = RANDOM.integers(0, 3, 500)
    found = []
    for kind in ("memory", "file"):
        torch.manual_seed(0)
        layers = [nn.Embedding(7, 2), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(-1)]
        model = Sequential(layers)
        model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
        x, y = codes, labels
        if kind == "file":
            x = mapped(tmp_path / "x.npy", codes, ">i2")
            y = mapped(tmp_path / "y.npy", labels, "|i1")
        history = model.fit(x, y, epochs=2, verbose=0, class_weight={0: 2.0})
        found.append([*history["loss"], *history["accuracy"]])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    with pytest.raises(ValueError, match=r"fit: x\[.*values from 0 to 6"):
        model.fit(mapped(tmp_path / "bad.npy", np.r_[codes, [[7] * 4]], ">i2"), np.r_[y, 0])
    with pytest.raises(ValueError, match="fit: y: expected values from 0 to 2"):
        model.fit(codes, mapped(tmp_path / "y2.npy", labels + 1, "|i1"))


@pytest.mark.parametrize("where", ["x", "y"])
def test_what_is_not_finite_is_found_before_the_first_epoch(tmp_path, where):
    bad = WHOLE.copy()
    bad[15_000, 0] = np.nan
    x = mapped(tmp_path / "x.npy", bad if where == "x" else WHOLE, ">f4")
    y = mapped(tmp_path / "y.npy", bad[:, :1] if where == "y" else WHOLE[:, :1], ">f4")
    model = new_model()
    before = model[0].weight.detach().clone()
    text = rf"fit: {where}\[\d+:\d+\]: expected finite numbers, got 1 of .*first in sample 15000\)"
    with pytest.raises(ValueError, match=text):
        model.fit(x, y, verbose=0)
    assert torch.equal(model[0].weight, before)


def test_a_shape_that_does_not_fit(tmp_path):
    y = mapped(tmp_path / "y.npy", WHOLE[:500, :2], ">f4")
    with pytest.raises(ValueError, match="mean_squared_error: y: expected shape"):
        new_model().fit(WHOLE[:500], y, verbose=0)
    with pytest.raises(TypeError, match="fit: x: expected floating-point numbers"):
        new_model().fit(mapped(tmp_path / "x.npy", WHOLE[:500], ">i4"), y, verbose=0)
