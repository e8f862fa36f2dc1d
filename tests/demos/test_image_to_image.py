"""The demo of image to image, with short trainings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural import cli, data
from pyneural.demos import _restoration, _wiener, image_to_image
from tests.demos.screen import run_demo

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few crops and seeds, small networks."""
    for name, few in (("CROPS", 64), ("WIDTH", 16), ("BLOCKS", 1), ("DENOISER", 8)):
        monkeypatch.setattr(_restoration, name, few)
    for name, few in (("SEEDS", 2), ("SAMPLES", 2), ("STEPS", 2), ("TUNED", 4), ("DIGITS", 2)):
        monkeypatch.setattr(image_to_image, name, few)


def numbers(out, name):
    """Those of the first row of that name; the second network is that of fewer images."""
    row = next(line for line in out.splitlines() if line.strip().startswith(name))
    return [float(text) for text in row.strip()[len(name) :].split()]


def test_super_resolution_of_hubble(tmp_path, capsys):
    out = run_demo("image-to-image", tmp_path, capsys, "--task", "super-resolution")
    bicubic, wiener, network = (
        numbers(out, name) for name in ("bicubic", "Wiener filter", "network  ")
    )
    assert bicubic[:2] == [31.95, 0.78]  # PSNR, as skimage and the means of squares have it
    assert bicubic[2:] == [0.832, 0.015]
    assert 32.2 < wiener[0] < 32.6
    assert network[0] > bicubic[0]
    assert len(network) == 6
    assert "one sample" in out
    assert "denoise" not in out


def test_digits(tmp_path, capsys):
    pytest.importorskip("sklearn")
    options = ("--data", "digits", "--epochs", "1")
    out = run_demo("image-to-image", tmp_path, capsys, *options)
    assert numbers(out, "network  ")[0] > numbers(out, "bicubic")[0] > 13
    assert "360 held out of 8 x 8" in out


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_own_picture(suffix, tmp_path, capsys):
    from matplotlib.image import imsave

    image = data.gaussian_blur(torch.rand(3, 100, 130), 2.0).movedim(0, 2).numpy()
    path = tmp_path / f"own{suffix}"
    if suffix == ".npy":
        np.save(path, image[..., 0])
    else:
        imsave(path, image)
    out = tmp_path / "out"
    found = run_demo("image-to-image", out, capsys, "--task", "deblur", "--data", str(path))
    assert numbers(found, "degraded")[0] > 20
    again = _restoration.read_image(str(path))
    expected = torch.from_numpy(image).movedim(2, 0)
    torch.testing.assert_close(
        again, expected[:1] if suffix == ".npy" else expected, rtol=0, atol=0.004
    )


def written(folder, kind):
    path = folder / ("picture.npy" if kind != "text" else "picture.png")
    values = {
        "small": np.zeros((40, 300)), "large values": np.full((200, 200), 7.0),
        "volume": np.zeros((99, 99, 99)), "words": np.array(["a"]),
        "transparent": np.zeros((200, 200, 4)), "objects": np.array([None, 1]),
    }  # fmt: skip
    if kind == "text":
        path.write_text("no picture")
    else:
        np.save(path, values[kind])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("small", "expected at least 96 x 48 pixels, to be cut in two halves, got 300 x 40"),
        ("large values", "expected values in [0, 1], got 7 to 7; divide by the largest"),
        ("volume", "expected a picture [H, W] or [H, W, 3]"),
        ("words", "got [1] of <U1"),
        ("transparent", "that is transparent"),
        ("objects", "expected a .png or .npy, got"),
        ("text", "expected a .png or .npy, got"),
    ],
)
def test_refused_pictures(kind, text, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--out", str(out), "--data", written(tmp_path, kind)]
    assert cli.main(["demo", "image-to-image", *options]) == 2
    assert text in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--data", "digits", "--task", "deblur"], "--task: expected super-resolution for digits"),
        (["--data", "nowhere.png"], "--data: nowhere.png: expected hubble, digits or a file"),
    ],
)
def test_refused(options, text, tmp_path, capsys):
    assert cli.main(["demo", "image-to-image", "--out", str(tmp_path), *options]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", image_to_image.TASKS)
def test_wiener_filters_beat_their_input(task):
    (x, y), (x_test, y_test) = data.hubble_pairs(task, count=5)
    x_test, y_test = x_test[::5], y_test[::5]
    scale = y.shape[-1] // x.shape[-1]
    enlarge = torch.nn.Upsample(scale_factor=scale, mode="bicubic") if scale > 1 else torch.clone
    _, filtered = _wiener.tuned(task, enlarge(x), y)
    before = _restoration.quality(enlarge(x_test), y_test, 1.5)
    after = _restoration.quality(filtered(enlarge(x_test)), y_test, 1.5)
    assert after.mean[0] > before.mean[0] + 0.3
    assert after.mean[1] > before.mean[1]


def test_quality_is_that_of_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, y = torch.rand(2, 3, 40, 30), torch.rand(2, 3, 40, 30)
    found = _restoration.quality(x, y, 1.5)
    options = {
        "data_range": 1.0, "channel_axis": 0, "gaussian_weights": True, "sigma": 1.5,
        "use_sample_covariance": False,
    }  # fmt: skip
    expected = [
        [peak_signal_noise_ratio(b, a, data_range=1.0), structural_similarity(b, a, **options)]
        for a, b in zip(x.numpy(), y.numpy(), strict=True)
    ]
    mean, spread = np.mean(expected, 0), np.std(expected, 0, ddof=1)
    np.testing.assert_allclose(found.mean.numpy(), mean, atol=1e-4)
    np.testing.assert_allclose(found.spread.numpy(), spread, atol=1e-4)
