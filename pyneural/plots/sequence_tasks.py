"""Examples of four sequence tasks: image captions, sentences, translations, a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style


def sequence_tasks(
    captions: tuple[Tensor, Sequence[str]],
    sentiment: tuple[Sequence[str], Sequence[float]],
    translations: Sequence[tuple[str, str, str]],
    video: tuple[Tensor, Sequence[str], Sequence[str]],
) -> Any:
    """Results of recurrent networks on held-out examples.

    Args:
        captions: images [N, H, W] and the caption generated for each.
        sentiment: words of a sentence, and the probability after each word that it is positive.
        translations: text, generated translation and correct translation.
        video: frames [T, H, W], predicted motion and true motion of each frame.

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
    with style.figure(13, 9.2) as figure:
        above, middle, below = figure.subfigures(3, 1, height_ratios=[1, 1.9, 1.15])
        _draw_captions(above, *captions)
        left, right = middle.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_sentiment(left, *sentiment)
        _draw_translations(right, translations)
        _draw_video(below, *video)
    return figure


def _draw_captions(figure: Any, images: Tensor, texts: Sequence[str]) -> None:
    figure.suptitle("One to many: from an image to its name, letter by letter", x=0.01, ha="left")
    for axes, image, text in zip(
        figure.subplots(1, len(images), squeeze=False)[0], images, texts, strict=True
    ):
        style.draw_image(axes, image, cmap="gray_r", vmin=0, vmax=1)
        axes.set_xlabel(text)


def _draw_sentiment(axes: Any, words: Sequence[str], probability: Sequence[float]) -> None:
    steps = range(len(words))
    axes.bar(steps, [value - 0.5 for value in probability], bottom=0.5, width=0.8,
             color=[style.GREEN if p > 0.5 else style.VERMILION for p in probability])  # fmt: skip
    axes.axhline(0.5, color=style.GREY, linewidth=0.9)
    axes.set_xticks(steps, words, rotation=60, ha="right", rotation_mode="anchor")
    axes.set(ylim=(0, 1), ylabel="probability of positive sentiment")
    axes.set_title("Many to one: the sentiment after each word")


def _draw_translations(axes: Any, rows: Sequence[tuple[str, str, str]]) -> None:
    axes.set(xlim=(0, 1), ylim=(len(rows), -0.6), title="Many to many: dates into ISO 8601")
    axes.axis("off")
    for line, (text, answer, right) in enumerate(rows):
        colour = style.GREEN if answer == right else style.VERMILION
        axes.text(0, line, text, va="center")
        axes.text(0.68, line, answer, va="center", color=colour, family="monospace")


def _draw_video(
    figure: Any, frames: Tensor, predicted: Sequence[str], truth: Sequence[str]
) -> None:
    figure.suptitle(
        "Frame by frame: motion of the shape (errors in red, with the correct motion in brackets)",
        x=0.01, ha="left",
    )  # fmt: skip
    panels = figure.subplots(1, len(frames), squeeze=False)[0]
    for axes, frame, answer, right in zip(panels, frames, predicted, truth, strict=True):
        style.draw_image(axes, frame, cmap="viridis", vmin=0, vmax=1)
        same = answer == right
        axes.set_xlabel(
            answer if same else f"{answer}\n({right})",
            color=style.BLACK if same else style.VERMILION,
        )
