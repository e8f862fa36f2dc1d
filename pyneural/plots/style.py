"""Common style of all figures, for projection and for colour-blind readers."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = [
    "BLACK", "BLUE", "CYCLE", "GREEN", "GREY", "ORANGE", "PURPLE", "SIGNED", "SKY", "VERMILION",
    "YELLOW", "check_installed", "draw_image", "draw_losses", "figure", "save", "scientific",
    "sequential",
]  # fmt: skip

# Palette of Okabe and Ito (2008), distinguishable with every kind of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#666666"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
SIGNED = "RdBu_r"  # colour map for signed quantities, white at zero

_RC = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.9,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 2.0,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "mathtext.fontset": "cm",
    "savefig.dpi": 160,
}


def check_installed() -> Any:
    """The matplotlib package; ImportError with the remedy if it is missing."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "plots: expected matplotlib, but it is not installed; pip install 'pyneural[plot]'"
        ) from error
    return matplotlib


@contextmanager
def figure(width: float, height: float) -> Iterator[Any]:
    """Context with a figure of a size in inches, in the common style, outside any window system."""
    with check_installed().rc_context(_RC):
        yield _figure_class()(figsize=(width, height))


@functools.cache
def _figure_class() -> Any:
    """A figure of matplotlib that notebooks show without pyplot, too."""
    from matplotlib.figure import Figure

    class FigureInNotebooks(Figure):
        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            with check_installed().rc_context(_RC):
                self.savefig(file, format="png")
            return file.getvalue()

    return FigureInNotebooks


def save(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Writes a figure; an existing file is replaced only once the new one is complete.

    Args:
        figure: a matplotlib figure.
        path: the suffix determines the format: png, pdf, svg.

    Returns:
        the path.

    >>> import tempfile
    >>> with figure(3, 2) as empty, tempfile.TemporaryDirectory() as directory:
    ...     save(empty, Path(directory) / "empty.png").stat().st_size > 0
    True
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with check_installed().rc_context(_RC):
            figure.savefig(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def draw_image(axes: Any, image: Tensor, **options: Any) -> Any:
    """Draws an image [H, W] without ticks and frame; the options are those of ``imshow``."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(image.detach().cpu().numpy(), **options)


def draw_losses(
    axes: Any,
    training: Sequence[float],
    validation: Sequence[float] | None,
    epochs: Sequence[int] | None = None,
) -> None:
    """Draws values of each epoch, from 1 by default: solid in training, dashed in validation."""
    counted = range(1, len(training) + 1) if epochs is None else epochs
    axes.plot(counted, training, color=BLUE, label="training")
    if validation is not None:
        axes.plot(counted, validation, color=VERMILION, linestyle=(0, (4, 2)), label="validation")


def sequential(index: int, count: int) -> Any:
    """Colour of a line in an ordered set, from light to dark.

    >>> sequential(0, 3) != sequential(2, 3)
    True
    """
    return check_installed().colormaps["viridis_r"](0.15 + 0.85 * index / max(count - 1, 1))


def scientific(value: float) -> str:
    r"""A value with two significant digits, in mathematical notation.

    >>> print(scientific(0.00042))
    $4.2\times 10^{-4}$
    >>> scientific(0.96)
    '0.96'
    """
    if 0.01 <= abs(value) < 100:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return rf"${mantissa}\times 10^{{{int(exponent)}}}$"
