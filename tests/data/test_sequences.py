"""Data sets of sequences: what they hold, that their parts are apart, and the vocabulary."""

from __future__ import annotations

import datetime

import pytest
import torch

from pyneural import data
from pyneural.data.vocabulary import END, PADDING, START

STEPS = {"still": (0, 0), "up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


def test_dates_say_what_they_mean():
    read = {
        "3 March 1987": "%d %B %Y",
        "March 3, 1987": "%B %d, %Y",
        "Tuesday, March 3, 1987": "%A, %B %d, %Y",
        "3 Mar 87": "%d %b %y",
        "3.3.1987": "%d.%m.%Y",
        "3/3/87": "%d/%m/%y",
    }
    for name, pattern in read.items():
        for text, answer in zip(*data.dates(200, formats=[name]), strict=True):
            found, right = (
                datetime.datetime.strptime(text, pattern),
                datetime.date.fromisoformat(answer),
            )
            assert (found.month, found.day, found.year % 100) == (
                right.month,
                right.day,
                right.year % 100,
            )
    texts, answers = data.dates(400, formats=["the 3rd of March 1987"])
    ordinal = {answer[8:]: text.split()[1] for text, answer in zip(texts, answers, strict=True)}
    assert [ordinal[day] for day in ("01", "02", "03", "11", "12", "13", "21", "30")] == [
        "1st", "2nd", "3rd", "11th", "12th", "13th", "21st", "30th"
    ]  # fmt: skip


def test_dates_are_split_by_content():
    texts, answers = data.dates(3000, seed=1)
    held_out = data.dates(1000, seed=1, held_out=True)
    assert not set(answers) & set(held_out[1])
    assert data.dates(3000, seed=1) == (texts, answers)
    assert data.dates(3000, seed=2)[0] != texts
    with pytest.raises(ValueError, match=r"formats: expected some of 3 March 1987; .*'noon'"):
        data.dates(1, formats=["noon"])


def test_sentences_need_their_order():
    texts, kind = data.sentences()
    held_out, held_out_kind = data.sentences(held_out=True)
    assert (len(texts), len(held_out)) == (6656, 1664)
    assert kind.mean() == held_out_kind.mean() == 0.5
    assert not set(texts) & set(held_out)
    label = dict(zip(texts + held_out, [*kind.tolist(), *held_out_kind.tolist()], strict=True))
    assert label["the talk was not dull but brilliant"] == 1
    assert label["the talk was not brilliant but dull"] == 0
    assert label["nobody found the talk dull"] == 1


def test_a_frame_follows_from_the_one_before():
    x, y = data.moving_shapes(40, seed=3, noise=0.0)
    assert len(y.unique()) == len(data.MOTIONS)
    for video, motions in zip(x, y, strict=True):
        assert motions[0] == 0
        for t in range(1, len(video)):
            moved = video[t - 1].roll(STEPS[data.MOTIONS[motions[t]]], (0, 1))
            assert torch.equal(video[t], moved)
    noisy, _ = data.moving_shapes(40, seed=3, noise=0.2)
    assert abs(float((noisy - x).std()) - 0.2) < 0.01
    with pytest.raises(ValueError, match="frames and size: expected >= 1 and >= 5, got 0 and 12"):
        data.moving_shapes(1, frames=0)


def test_vocabulary():
    words = data.Vocabulary([["b", "a"], ["c"]])
    codes = words.encode([["a"], ["c", "b", "a"], []])
    assert codes.tolist() == [[3, END, 0, 0], [5, 4, 3, END], [END, 0, 0, 0]]
    assert words.decode(codes) == [["a"], ["c", "b", "a"], []]
    assert words.decode(torch.tensor([[START, 3, PADDING, 4]])) == [["a", "b"]]
    assert words.encode([]).shape == (0, 0)
    with pytest.raises(ValueError, match="expected symbols among a b c, got 'z'; build the voc"):
        words.encode(["az"])


def test_reversal():
    texts, answers = data.reversal(2000, seed=1)
    assert all(text == answer[::-1] for text, answer in zip(texts, answers, strict=True))
    assert {len(text) for text in texts} == set(range(6, 13))
    assert len(set(texts) & set(data.reversal(2000, seed=2)[0])) < 20
