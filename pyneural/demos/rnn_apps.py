"""Four applications of recurrent networks, each with a baseline without memory.

    one to many     the English name, letter by letter, of a digit's image
    many to one     the sentiment of a sentence
    many to many    the translation of a date into ISO 8601
    frame by frame  the motion of a shape in a video, online

Each network and its baseline are trained on one part of the data and scored on
the other. Prints the scores; writes rnn-apps.png.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import data, nn, optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import whole
from pyneural.models import (
    Captioner,
    FrameClassifier,
    Model,
    SentenceClassifier,
    Translator,
    teacher_forced,
)

SYSTEMS = ("S35",)
SUMMARY = "Images, sentences, dates, videos with RNNs."
NEXT = "pyneural demo attention: what came after recurrent networks"
QUICK = ("--epochs", "5")
OPTIONS = {
    "--epochs": whole("passes through each data set (default: 5 to 15)", None, low=1),
}
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DATES, VIDEOS, HELD_OUT = 10_000, 2_000, 1_000
HIDDEN, BATCH, RATE = 128, 64, 2e-3
EPOCHS = {"captions": 15, "sentences": 5, "dates": 14, "videos": 8}
SHOWN, SENTENCE = 8, "at first the lecture seemed dull in the end it was brilliant"


@dataclass
class Scored:
    """Accuracy of a network with memory and of one without, on held-out data."""

    task: str
    network: str
    score: float
    other: str
    baseline: float
    example: Any  # for the picture


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    print("Applications of recurrent networks: accuracy on held-out data\n")
    print("  task              with memory      without memory              training")
    examples = []
    tasks = {"captions": _captions, "sentences": _sentences, "dates": _dates, "videos": _videos}
    for task, solve in tasks.items():
        torch.manual_seed(args.seed)
        began = time.perf_counter()
        done = solve(args.seed, args.epochs or EPOCHS[task])
        seconds = time.perf_counter() - began
        print(
            f"  {done.task:<18}{done.network:<6}{done.score:7.1%}    "
            f"{done.other:<18}{done.baseline:7.1%}{seconds:12.1f} s",
            flush=True,
        )
        examples.append(done.example)
    print()
    return plots.sequence_tasks(*examples)


def _captions(seed: int, epochs: int) -> Scored:
    (x, digit), (new, new_digit) = data.digits()
    letters = data.Vocabulary(NAMES)
    names = letters.encode(NAMES)
    network = Captioner(x[0].numel(), len(letters), HIDDEN, names.shape[1])
    y = names[digit]
    _train(network, "captions", epochs, teacher_forced(x.flatten(1), y), y)
    captions = ["".join(text) for text in letters.decode(network.caption(new.flatten(1)))]
    right = _accuracy([text == NAMES[n] for text, n in zip(captions, new_digit, strict=True)])
    baseline = _accuracy(new_digit == digit.bincount().argmax())
    example = new[:SHOWN], captions[:SHOWN]
    return Scored("name of a digit", "GRU", right, "most frequent name", baseline, example)


def _sentences(seed: int, epochs: int) -> Scored:
    texts, sentiment = data.sentences()
    new_texts, new_sentiment = data.sentences(held_out=True)
    words = data.Vocabulary(text.split() for text in texts)
    x, new = (words.encode([text.split() for text in part]) for part in (texts, new_texts))
    network = SentenceClassifier(len(words), HIDDEN // 4)
    _train(network, "sentences", epochs, x, sentiment, "binary_crossentropy")
    right = _accuracy((network(new)[:, 0] > 0.5) == (new_sentiment > 0.5))
    bag = Model(nn.Linear(len(words), 1, activation="sigmoid"))
    counts, new_counts = (  # occurrences of each word, [N, words]
        torch.nn.functional.one_hot(codes, len(words)).sum(1).float() for codes in (x, new)
    )
    _train(bag, "sentences", epochs, counts, sentiment, "binary_crossentropy")
    baseline = _accuracy((bag(new_counts)[:, 0] > 0.5) == (new_sentiment > 0.5))
    shown = SENTENCE.split()
    so_far = words.encode([shown[: end + 1] for end in range(len(shown))])
    example = shown, network(so_far)[:, 0].tolist()
    return Scored("sentiment", "LSTM", right, "bag of words", baseline, example)


def _dates(seed: int, epochs: int) -> Scored:
    texts, answers = data.dates(DATES, seed)
    new_texts, new_answers = data.dates(HELD_OUT, seed, held_out=True)
    source, target = data.Vocabulary(texts + new_texts), data.Vocabulary(answers)
    both = source.encode(texts + new_texts)  # encoded together, to equal length
    x, new, y = both[:DATES], both[DATES:], target.encode(answers)
    network = Translator(len(source), len(target), HIDDEN, y.shape[1])
    _train(network, "dates", epochs, teacher_forced(x, y), y)
    translations = ["".join(text) for text in target.decode(network.translate(new))]
    layers = nn.Sequential(
        nn.Embedding(len(source), HIDDEN // 8),
        nn.Flatten(),
        nn.Linear(x.shape[1] * (HIDDEN // 8), 2 * HIDDEN, activation="relu"),
        nn.Linear(2 * HIDDEN, y.shape[1] * len(target)),
        nn.Unflatten(1, (y.shape[1], len(target))),
        nn.Softmax(-1),
    )
    forward = Model(layers)
    _train(forward, "dates", epochs, x, y)
    baseline = _accuracy((forward(new).argmax(-1) == target.encode(new_answers)).all(1))
    pairs = zip(translations, new_answers, strict=True)
    right = _accuracy([text == answer for text, answer in pairs])
    example = [*zip(new_texts, translations, new_answers, strict=True)][:SHOWN]
    return Scored("dates", "GRU", right, "feed-forward net", baseline, example)


def _videos(seed: int, epochs: int) -> Scored:
    x, y = data.moving_shapes(VIDEOS, seed=seed)
    new, new_y = data.moving_shapes(HELD_OUT, seed=seed + 1)
    pixels, classes = x[0, 0].numel(), len(data.MOTIONS)
    network = FrameClassifier(pixels, classes, HIDDEN)
    _train(network, "videos", epochs, x, y)
    hidden = nn.Linear(pixels, HIDDEN, activation="relu")
    single = Model(nn.Sequential(nn.Flatten(2), hidden, nn.Linear(HIDDEN, classes), nn.Softmax(-1)))
    _train(single, "videos", epochs, x, y)
    predicted = network(new).argmax(-1)
    right, baseline = _accuracy(predicted == new_y), _accuracy(single(new).argmax(-1) == new_y)
    motions = [[data.MOTIONS[index] for index in row[0, :SHOWN]] for row in (predicted, new_y)]
    example = new[0, :SHOWN], *motions
    return Scored("motion of a frame", "GRU", right, "one frame alone", baseline, example)


def _train(
    model: Model,
    task: str,
    epochs: int,
    x: Tensor,
    y: Tensor,
    loss: str = "sparse_categorical_crossentropy",
) -> None:
    model.compile(partial(optim.Adam, lr=RATE), loss, clip_norm=1.0)
    _fit.fit(model, task, x, y, epochs=epochs, batch_size=BATCH)
    model.eval().requires_grad_(False)


def _accuracy(right: Tensor | list[bool]) -> float:
    return float(torch.as_tensor(right).float().mean())
