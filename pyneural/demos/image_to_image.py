"""Image to image: noise and blur taken away, pixels halved.

    denoise            x = y + 0.1 eps
    deblur             x = y * Gaussian of 1.5 pixels + 0.01 eps
    super-resolution   x = means of 2 x 2 pixels of y

In the Hubble deep field of scikit-image, whose left half trains and whose
right half tests, or in a picture of your own; or digits of 8 x 8 pixels from
4 x 4. A residual convolutional network is trained with the squared error, from
three seeds, and a diffusion model of what the first one leaves. Prints PSNR in
dB and SSIM on held-out images, with the standard deviation over images and
that of the means over seeds, beside bicubic interpolation and the Wiener
filters of scipy and scikit-image, whose parameters are the best on the left
half. A sample of the diffusion looks real and is further from the truth than
their mean: with a perfect sampler by 3 dB. Writes image-to-image.png.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from pyneural import data, plots
from pyneural.demos import _restoration, _wiener
from pyneural.demos._options import counted, option, print_row, whole
from pyneural.demos._restoration import Problem, Quality, print_heading, print_quality
from pyneural.plots.latent_variables import mosaic

SYSTEMS = ("S28",)
SUMMARY = "Denoise, deblur and enlarge images."
NEXT = "pyneural demo ddpm: images from noise alone"
QUICK = ("--data", "digits", "--epochs", "5")
TASKS = ("denoise", "deblur", "super-resolution")
SEEDS = 3
SAMPLES, STEPS = 8, 25  # of the diffusion for each image; times of a sample
EPOCHS = {"hubble": 2, "digits": 40}
TUNED = 20  # crops of the left half that the Wiener filter is tuned with
DIGITS = 6  # along an edge of the picture
CORNER, EDGE, BOX = (520, 224), 128, (72, 72, 32)  # of the Hubble deep field: what is shown
OPTIONS = {
    "--task": option("denoise, deblur or super-resolution (default: all)", choices=TASKS,
                     metavar="TASK"),
    "--data": option("hubble, digits (super-resolution alone), or a file .png or .npy", "hubble",
                     metavar="DATA"),
    "--epochs": whole(
        f"passes through the images (default: {EPOCHS['hubble']}, {EPOCHS['digits']} for digits)",
        None, 1, 10**6,
    ),
}  # fmt: skip


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    problems, box = _problems(args)
    epochs = args.epochs or EPOCHS.get(args.data, EPOCHS["hubble"])
    first = problems[0]
    size = " x ".join(map(str, first.test.y.shape[:1:-1]))
    print("Image to image\n")
    print_row(
        "images", f"{len(first.train.y):,} for training, {len(first.test.y)} held out of {size}"
    )
    print_row("training", f"{counted(epochs, 'epoch')} of Adam, batches of {first.batch}")
    print_row("samples", f"{SAMPLES} of the diffusion for each image, in {STEPS} steps")
    rows = {problem.task: _solve(problem, epochs, args.seed) for problem in problems}
    print()
    return plots.restored_images(rows, box)


def _problems(args: argparse.Namespace) -> tuple[list[Problem], tuple[int, int, int] | None]:
    """What is to be solved, and the part of the picture that is magnified."""
    tasks = TASKS if args.task is None else (args.task,)
    if args.data == "digits":
        if args.task not in (None, "super-resolution"):
            raise ValueError(
                f"--task: expected super-resolution for digits, got {args.task}; leave it out"
            )
        return [_restoration.of_digits(DIGITS**2)], None
    if args.data == "hubble":
        image, corner, edge, box = data.hubble_deep_field(), CORNER, EDGE, BOX
    else:
        image = _restoration.read_image(args.data)
        height, width = image.shape[1], image.shape[2] - image.shape[2] // 2
        edge = min(EDGE, height, width) // 8 * 8
        corner = (height - edge) // 2, (width - edge) // 2
        box = edge // 2, edge // 2, edge // 4
    return [_restoration.of_image(image, task, args.seed, corner, edge) for task in tasks], box


def _solve(problem: Problem, epochs: int, seed: int) -> list[tuple[str, str, Tensor]]:
    """Trains, prints the table of a task, and gives the panels of the picture."""
    x, y = problem.test
    shown = problem.shown
    print_heading(problem.task)

    def measured(images: Tensor, truth: Tensor = y) -> Quality:
        return _restoration.quality(images, truth, problem.window)

    def panel(name: str, images: Tensor) -> tuple[str, str, Tensor]:
        mean = measured(images, shown.y).mean.tolist()
        return name, f"{mean[0]:.1f} dB, SSIM {mean[1]:.2f}", _picture(images)

    network, seconds = _restoration.train_network(problem, epochs, seed)
    degraded, wide = network.upsample(x), network.upsample(shown.x)  # bicubic where x is smaller
    few = problem.train
    _, wiener = _wiener.tuned(problem.task, network.upsample(few.x[:TUNED]), few.y[:TUNED])
    if problem.scale > 1:
        degraded, wide = degraded.clamp(0, 1), wide.clamp(0, 1)
        print_quality("bicubic", [measured(degraded)])
        squares = shown.x.repeat_interleave(problem.scale, 2).repeat_interleave(problem.scale, 3)
        panels = [
            ("Degraded", f"{_size(shown.x)} pixels", _picture(squares)),
            panel("Bicubic", wide),
        ]
    else:
        print_quality("degraded", [measured(degraded)])
        panels = [panel("Degraded", wide), panel("Wiener filter", wiener(wide))]
    print_quality("Wiener filter", [measured(wiener(network.upsample(x)))])
    found = [measured(network.predict(x).clamp(0, 1))]
    for other in range(seed + 1, seed + SEEDS):
        again, more = _restoration.train_network(problem, epochs, other)
        found.append(measured(again.predict(x).clamp(0, 1)))
        seconds += more
    print_quality("network", found)
    diffusion, took = _restoration.train_diffusion(problem, network, epochs, seed)
    part = (torch.arange(problem.sampled) * len(x) // problem.sampled).unique()  # spread over all
    print(f"  of {counted(len(part), 'image')} alone:")
    truth = y[part]
    print_quality("  network", [measured(network.predict(x[part]).clamp(0, 1), truth)])
    samples = torch.stack([diffusion.sample(x[part], steps=STEPS) for _ in range(SAMPLES)])
    print_quality(f"  mean of {SAMPLES} samples", [measured(samples.mean(0).clamp(0, 1), truth)])
    print_quality("  one sample", [measured(samples[0].clamp(0, 1), truth)])
    print_row("trained", f"networks {seconds:.0f} s, diffusion {took:.0f} s")
    torch.manual_seed(seed)
    panels.append(panel("Network", network.predict(shown.x).clamp(0, 1)))
    panels.append(panel("Diffusion, a sample", diffusion.sample(shown.x, steps=STEPS).clamp(0, 1)))
    return [*panels, ("Truth", f"{_size(shown.y)} pixels", _picture(shown.y))]


def _picture(images: Tensor) -> Tensor:
    """One image [3, H, W] or [H, W], or digits side by side as one."""
    if len(images) == 1:
        return images[0] if images.shape[1] == 3 else images[0, 0]
    return mosaic(images.squeeze(1).unflatten(0, (DIGITS, DIGITS)), gap=0.5)


def _size(images: Tensor) -> str:
    return f"{images.shape[3]} x {images.shape[2]}"
