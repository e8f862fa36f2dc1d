"""Arrays and frames in the hands of every model that a scientist asks for values."""

import numpy as np
import pytest
import torch

from pyneural import models
from tests.training.problems import small_pinn

X = np.random.default_rng(0).uniform(-0.5, 0.5, (9, 2))


def autoencoder():
    torch.manual_seed(0)
    return models.Autoencoder([2, 3, 2])


def variational():
    torch.manual_seed(0)
    return models.VariationalAutoencoder([2, 3, 2], "gaussian")


CALLS = {
    "reconstruct": lambda: variational().reconstruct,
    "encode": lambda: autoencoder().encode,
    "decode": lambda: autoencoder().decode,
    "predict": lambda: small_pinn().predict,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float64", "float32", ">f8"])
def test_arrays_are_the_same_as_tensors(name, dtype):
    call = CALLS[name]()
    tensor = torch.from_numpy(X.astype("float32")).to(next(call.__self__.parameters()).dtype)
    with torch.no_grad():
        expected = call(tensor).numpy()
    found = call(X.astype(dtype))
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(call(X.astype(dtype).tolist()), found)


@pytest.mark.parametrize("name", CALLS)
def test_frames_and_what_is_refused(name):
    pandas, call = pytest.importorskip("pandas"), CALLS[name]()
    frame = pandas.DataFrame(X, index=np.arange(9) * 2)
    np.testing.assert_allclose(call(frame), call(X), rtol=1e-6)
    with pytest.raises(ValueError, match=rf"{name}: [xz]: expected finite numbers"):
        call(X / 0 * 0)
    with pytest.raises(TypeError, match=rf"{name}: [xz]: expected an array of numbers"):
        call(np.array([["a", "b"]]))
    with pytest.raises(ValueError, match="a masked array"):
        call(np.ma.masked_greater(X, 0.0))


def test_relative_error_of_arrays():
    pinn = small_pinn()
    exact = np.ones((9, 1))
    found = pinn.relative_l2(X, exact)
    tensor = torch.from_numpy(X)
    assert found == pytest.approx(pinn.relative_l2(tensor, torch.from_numpy(exact)))
