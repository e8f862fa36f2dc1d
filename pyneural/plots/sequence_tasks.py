"""Four tasks on sequences, each on an example: image, sentence, translation, video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def sequence_tasks(
    captions: tuple[Tensor, Sequence[str]],
    judgement: tuple[Sequence[str], Sequence[float]],
    translations: Sequence[tuple[str, str, str]],
    video: tuple[Tensor, Sequence[str], Sequence[str]],
) -> Any:
    """What recurrent networks say of examples that they never saw.

    Args:
        captions: images [N, H, W], and the text that was made of each.
        judgement: the words of a sentence, and the probability after each that it is kind.
        translations: text, what was made of it, and the right answer.
        video: frames [T, H, W], and of each frame what moved by the network and in truth.

    Returns:
        a matplotlib figure; write it with ``plots.save``.

    Raises:
        ImportError: matplotlib is missing.

    >>> import torch
    >>> figure = sequence_tasks(
    ...     (torch.rand(2, 8, 8), ["one", "two"]),
    ...     (["not", "bad"], [0.4, 0.9]),
    ...     [("1 May 99", "1999-05-01", "1999-05-01")],
    ...     (torch.rand(3, 8, 8), ["still", "up", "up"], ["still", "up", "down"]),
    ... )
    >>> len(figure.axes)
    7
    """
    with style.look():
        figure = style.new_figure(13, 9.2)
        above, middle, below = figure.subfigures(3, 1, height_ratios=[1, 1.9, 1.15])
        _draw_captions(above, *captions)
        left, right = middle.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_judgement(left, *judgement)
        _draw_translations(right, translations)
        _draw_video(below, *video)
    return figure


def _draw_captions(figure: Any, images: Tensor, texts: Sequence[str]) -> None:
    figure.suptitle("One to many: an image, and its name letter by letter", x=0.01, ha="left")
    for axes, image, text in zip(
        figure.subplots(1, len(images), squeeze=False)[0], images, texts, strict=True
    ):
        _show(axes, image, "gray_r")
        axes.set_xlabel(text)


def _draw_judgement(axes: Any, words: Sequence[str], kind: Sequence[float]) -> None:
    steps = range(len(words))
    axes.bar(steps, [value - 0.5 for value in kind], bottom=0.5, width=0.8,
             color=[style.GREEN if value > 0.5 else style.VERMILION for value in kind])  # fmt: skip
    axes.axhline(0.5, color=style.GREY, linewidth=0.9)
    axes.set_xticks(steps, words, rotation=60, ha="right", rotation_mode="anchor")
    axes.set(ylim=(0, 1), ylabel="probability of kind")
    axes.set_title("Many to one: a judgement, as its words arrive")


def _draw_translations(axes: Any, rows: Sequence[tuple[str, str, str]]) -> None:
    axes.set_title("Many to many: dates into ISO 8601")
    axes.set(xlim=(0, 1), ylim=(len(rows), -0.6))
    axes.axis("off")
    for line, (text, answer, right) in enumerate(rows):
        colour = style.GREEN if answer == right else style.VERMILION
        axes.text(0, line, text, va="center")
        axes.text(0.68, line, answer, va="center", color=colour, family="monospace")


def _draw_video(figure: Any, frames: Tensor, said: Sequence[str], truth: Sequence[str]) -> None:
    figure.suptitle(
        "Frame by frame: how the shape moves (wrong answers red, the right one in brackets)",
        x=0.01, ha="left",
    )  # fmt: skip
    panels = figure.subplots(1, len(frames), squeeze=False)[0]
    for axes, frame, answer, right in zip(panels, frames, said, truth, strict=True):
        _show(axes, frame, "viridis")
        same = answer == right
        axes.set_xlabel(
            answer if same else f"{answer}\n({right})",
            color=style.BLACK if same else style.VERMILION,
        )


def _show(axes: Any, image: Tensor, colours: str) -> None:
    axes.imshow(image.numpy(), cmap=colours, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
