"""Data that could be misread: honoured or refused, never guessed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyneural import layers
from pyneural.training import Model, Sequential
from pyneural.training.data.tensors import to_tensor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 4)).astype("float32")
STEPS = RANDOM.normal(size=(24, 5, 4)).astype("float32")
Y = X.sum(1)


def model_of(loss="mse", units=1, activation=None, **options):
    torch.manual_seed(0)
    model = Sequential([nn.Linear(4, units), *([activation] if activation else [])])
    model.compile("sgd", loss, **options)
    return model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Weights of classes.


def loss_with(loss, activation, x, y, units=3, **options):
    model = model_of(loss, units, activation)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, **options)
    return weights(model)


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ("sparse_categorical_crossentropy", nn.Softmax(-1)),
        (lambda p, y: nn.functional.nll_loss(p.movedim(-1, 1), y, reduction="none"), None),
    ],
)
def test_labels_a_step(loss, activation):
    y = RANDOM.integers(0, 3, (24, 5))
    factors = {0: 0.5, 2: 3.0}
    own = np.vectorize(lambda label: factors.get(label, 1.0))(y)
    if callable(loss):  # a user's function, of which it is not known how it reads y
        with pytest.raises(ValueError, match=r"class_weight: .* got shape \(24, 5\)"):
            loss_with(loss, activation, STEPS, y, class_weight=factors)
        return
    by_class = loss_with(loss, activation, STEPS, y, class_weight=factors)
    by_step = loss_with(loss, activation, STEPS, y, sample_weight=own)
    plain = loss_with(loss, activation, STEPS, y)
    torch.testing.assert_close(by_class, by_step)
    assert not torch.allclose(by_class, plain)


def test_weights_a_step_are_means_over_all_steps():
    y, weight = RANDOM.integers(0, 3, (24, 5)), RANDOM.uniform(0, 2, (24, 5))
    model = model_of("sparse_categorical_crossentropy", 3, nn.Softmax(-1))
    found = model.evaluate(STEPS, y, sample_weight=weight, batch_size=24)
    p = model.predict(STEPS)
    each = -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0]
    assert found == pytest.approx((each * weight).mean(), rel=1e-5)


MANY = np.eye(3)[RANDOM.integers(0, 3, 24)]


@pytest.mark.parametrize(
    ("loss", "y", "got"),
    [
        ("categorical_crossentropy", np.where(MANY == 0, 1.0, 0.0), "several labels"),
        ("categorical_crossentropy", np.zeros((24, 3)), "several labels, or of none"),
        ("categorical_crossentropy", MANY * 0.8 + 0.1, "fractions"),
        ("binary_crossentropy", MANY, r"shape \(24, 3\) for the loss 'binary_crossentropy'"),
        ("mse", np.repeat(Y[:, None] > 0, 3, 1).astype(float), r"shape \(24, 3\)"),
        ("mse", np.repeat(Y[:, None], 3, 1), "fractions"),
        (nn.BCEWithLogitsLoss(reduction="none"), MANY, r"shape \(24, 3\)"),
    ],
)
def test_labels_that_are_no_class_a_sample(loss, y, got):
    activation = nn.Softmax(-1) if loss == "categorical_crossentropy" else nn.Sigmoid()
    model = model_of(loss, 3, None if callable(loss) else activation)
    with pytest.raises(ValueError, match=f"fit: class_weight: expected y that says one.*{got}"):
        model.fit(X, y, verbose=0, class_weight={0: 2.0})
    model.fit(X, y, verbose=0, sample_weight=np.ones(24))


# Arrays that hide something.


@pytest.mark.parametrize("place", ["x", "y", "sample_weight", "validation"])
def test_masked_arrays(place):
    x, y, weight = X.copy(), Y.copy(), np.ones(24)
    options = {"sample_weight": weight}
    if place in ("x", "validation"):
        masked = np.ma.masked_greater(x, 1.0)
        x = masked if place == "x" else x
        options |= {"validation_data": (masked, y)} if place == "validation" else {}
    elif place == "y":
        y = np.ma.masked_less(y, 0)
    else:
        options["sample_weight"] = np.ma.masked_array(weight, [True] + [False] * 23)
    with pytest.raises(ValueError, match=r"a masked array in which \d+ are hidden"):
        model_of().fit(x, y, verbose=0, **options)
    model_of().fit(np.ma.masked_greater(X, 1e9), Y, verbose=0)  # nothing is


def test_tensors_that_are_not_dense():
    sparse = torch.from_numpy(X).to_sparse()
    with pytest.raises(TypeError, match=r"fit: x: expected a dense tensor, got torch.sparse_coo"):
        model_of().fit(sparse, Y, verbose=0)
    with pytest.raises(TypeError, match=r"predict: x: expected a dense tensor"):
        model_of().predict(sparse.to_sparse_csr())


@pytest.mark.parametrize("kind", [np.complex64, np.complex128, torch.complex64])
def test_complex_numbers_are_not_cut(kind):
    y = torch.from_numpy(Y).to(kind) if isinstance(kind, torch.dtype) else Y.astype(kind)
    with pytest.raises(TypeError, match="fit: y: "):
        model_of().fit(X, y, verbose=0)
    x = torch.from_numpy(X).to(kind) if isinstance(kind, torch.dtype) else X.astype(kind)
    with pytest.raises(TypeError, match="fit: x: "):
        model_of().fit(x, Y, verbose=0)


def test_numbers_beyond_the_model_s_type():
    with pytest.raises(ValueError, match="fit: x: expected finite numbers, got 1 of"):
        model_of().fit(np.where(X.max() == X, 1e60, X.astype("float64")), Y, verbose=0)


def test_frames_with_an_index_of_their_own():
    pandas = pytest.importorskip("pandas")
    index = RANDOM.permutation(24)
    x = pandas.DataFrame(X, columns=list("abcd"), index=index)
    y = pandas.Series(Y, index=index)
    expected, found = model_of(), model_of()
    for model, data in ((expected, (X, Y)), (found, (x, y))):
        model.fit(*data, verbose=0, validation_split=0.25, shuffle=False)
    torch.testing.assert_close(weights(found), weights(expected))
    for other in (y.sort_index(), y.reset_index(drop=True), pandas.DataFrame(Y)):
        with pytest.raises(ValueError, match="fit: y: expected the index that x has"):
            model_of().fit(x, other, verbose=0)
    with pytest.raises(ValueError, match="sample_weight: expected the index that x has"):
        model_of().fit(x, y, sample_weight=pandas.Series(np.ones(24)), verbose=0)
    with pytest.raises(ValueError, match="fit: y: expected the index that x has"):
        model_of().fit(x, y.sort_index(), validation_split=0.25, verbose=0)
    model_of().fit(x, Y, verbose=0)  # an array has none


def test_frames_are_cut_by_place_and_read_by_column():
    pandas = pytest.importorskip("pandas")
    times = np.linspace(0, 1, 24)  # an index by which [:6] would be all rows up to 6.0
    x = pandas.DataFrame(X, columns=list("abcd"), index=times)
    y = pandas.Series(Y, index=times)
    model, other = model_of(), model_of()
    torch.manual_seed(1)
    a = model.fit(x, y, verbose=0, validation_split=0.5)
    torch.manual_seed(1)
    b = other.fit(X, Y, verbose=0, validation_split=0.5)
    for name in ("loss", "val_loss"):
        assert a[name] == pytest.approx(b[name])
    swapped = x[["b", "a", "c", "d"]]
    for call in (lambda: model.predict(swapped), lambda: model.evaluate(swapped, y)):
        with pytest.raises(ValueError, match=r"x: expected the columns \['a', 'b', 'c', 'd'\]"):
            call()
    with pytest.raises(ValueError, match="validation_data: x: expected the columns"):
        model.fit(x, y, validation_data=(swapped, y), verbose=0)
    np.testing.assert_allclose(model.predict(x), model.predict(X), rtol=1e-5)


# Labels out of range.


def loader_of(x, y, batch_size=8):
    data = TensorDataset(torch.as_tensor(x), torch.as_tensor(y))
    return DataLoader(data, batch_size=batch_size)


LABELS = np.arange(24) % 3


@pytest.mark.parametrize("wrap", [lambda *data: data, lambda *data: (loader_of(*data),)])
@pytest.mark.parametrize("where", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("loss", "y", "text"),
    [
        ("sparse_categorical_crossentropy", LABELS + 1, "from 1 to 3.*subtract 1"),
        ("sparse_categorical_crossentropy", LABELS - 1, "from -1 to 1"),
        ("sparse_categorical_crossentropy", LABELS * 10, "from 0 to 20"),
        (nn.CrossEntropyLoss(), LABELS + 1, "from 1 to 3.*subtract 1"),
        (nn.CrossEntropyLoss(), (LABELS + 1).astype("int32"), "from 1 to 3.*subtract 1"),
        (nn.NLLLoss(), LABELS + 7, "from 7 to 9"),
        ("binary_crossentropy", np.repeat(LABELS[:, None], 3, 1) * 1.0, "from 0 to 2"),
    ],
)
def test_labels_out_of_range(wrap, where, loss, y, text):
    activation = nn.Sigmoid() if loss == "binary_crossentropy" else nn.Softmax(-1)
    model = model_of(loss, 3, None if callable(loss) else activation)
    y = y if y.dtype.kind == "i" else y.astype("float32")
    with pytest.raises(ValueError, match=rf"{where}: y: expected values from 0 to [12].*{text}"):
        getattr(model, where)(*wrap(X, y), verbose=0)


def test_labels_that_are_left_out_by_the_loss():
    y = np.where(LABELS == 1, -100, LABELS)
    model = model_of(nn.CrossEntropyLoss(), 3)
    model.fit(X, y, verbose=0)
    other = model_of(nn.CrossEntropyLoss(ignore_index=7), 3)
    other.fit(loader_of(X, np.where(LABELS == 1, 7, LABELS)), verbose=0)
    with pytest.raises(ValueError, match="from 0 to 2"):
        other.fit(X, y, verbose=0)


def test_labels_in_a_late_batch_of_a_loader():
    y = LABELS.copy()
    y[20] = 3
    model = model_of("sparse_categorical_crossentropy", 3, nn.Softmax(-1))
    with pytest.raises(ValueError, match="got 1 outside"):
        model.fit(loader_of(X, y), verbose=0)


@pytest.mark.parametrize("table", [nn.Embedding(5, 2), layers.Embedding(5, 2)])
@pytest.mark.parametrize("wrap", [lambda x, y: (x, y), lambda x, y: (loader_of(x, y),)])
def test_tokens_outside_the_vocabulary(table, wrap):
    codes = RANDOM.integers(0, 5, (24, 3))
    model = Sequential([table, nn.Flatten(), nn.Linear(6, 1)])
    model.compile("sgd", "mse")
    y = Y.astype("float32")
    model.fit(*wrap(codes, y), verbose=0)
    for bad in (np.where(codes == 4, 5, codes), codes - 1):
        with pytest.raises(ValueError, match=r"fit: x: expected values from 0 to 4, as the embed"):
            model.fit(*wrap(bad, y), verbose=0)
        with pytest.raises(ValueError, match="predict: x: expected values from 0 to 4"):
            model.predict(bad)


# The user's arrays.


def test_layers_in_place_leave_the_users_array_alone():
    x = X.copy()
    model = Model(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 1)))
    model.compile("sgd", "mse")
    model.predict(x)
    model.fit(x, Y, shuffle=False, verbose=0)
    model.evaluate(x, Y)
    assert np.array_equal(x, X)


def test_files_in_memory_are_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert to_tensor("x", x).data_ptr() == x.ctypes.data
    model = Model(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 1)))
    model.compile("sgd", "mse")
    model.fit(x, Y, shuffle=False, verbose=0)
    model.fit(x, Y, verbose=0)
    np.testing.assert_array_equal(model.predict(x), model.predict(X))
