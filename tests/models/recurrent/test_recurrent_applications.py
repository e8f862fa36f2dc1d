"""Networks that name, judge, translate and follow: they read what they should, and no more."""

from __future__ import annotations

import pytest
import torch

from pyneural.data import Vocabulary
from pyneural.models import (
    Captioner,
    FrameClassifier,
    RecurrentDecoder,
    SentenceClassifier,
    Translator,
    teacher_forced,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def codes(*shape, high=9):
    return torch.randint(3, high, shape)


def test_greedy_says_what_is_most_probable_after_what_it_said():
    decoder = RecurrentDecoder(symbols=9, hidden=16)
    h_0 = torch.randn(5, 16)
    said = decoder.greedy(h_0, 7)
    p = decoder(teacher_forced(torch.empty(5, 0, dtype=torch.int64), said), h_0)
    assert torch.equal(p.argmax(-1), said)
    assert len({tuple(row) for row in said.tolist()}) > 1


def test_a_symbol_never_sees_itself_or_a_later_one():
    decoder = RecurrentDecoder(symbols=9, hidden=16)
    h_0, y = torch.randn(3, 16), codes(3, 6)
    other = y.clone()
    other[:, 3:] = (other[:, 3:] - 2) % 6 + 3
    x = torch.empty(3, 0, dtype=torch.int64)
    before, after = (decoder(teacher_forced(x, end), h_0) for end in (y, other))
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("kind", ["sentence", "translator"])
def test_padding_is_not_read(kind):
    x = codes(4, 5)
    padded = torch.cat([x, torch.zeros(4, 3, dtype=torch.int64)], 1)
    if kind == "sentence":
        read = SentenceClassifier(9, 16)
    else:
        read = Translator(9, 7, 16, steps=4).encode
    torch.testing.assert_close(read(padded), read(x))
    assert not torch.allclose(read(padded), read(torch.where(padded == 0, 3, padded)))


def test_order_of_words_matters():
    network = SentenceClassifier(9, 16)
    x = torch.tensor([[3, 4, 5]])
    assert not torch.allclose(network(x), network(x.flip(1)))


def test_a_translation_and_a_caption_by_teacher_and_alone():
    source, target = Vocabulary(["ab", "c"]), Vocabulary(["1", "22"])
    x, y = source.encode(["ab", "c", "ba"]), target.encode(["1", "22", "2"])
    network = Translator(len(source), len(target), 16, steps=3)
    said = network.translate(x)
    assert torch.equal(network(teacher_forced(x, said)).argmax(-1), said)
    assert network(teacher_forced(x, y)).sum(-1).allclose(torch.ones(3, 3))
    images = torch.rand(3, 20)
    captioner = Captioner(20, len(target), 16, steps=3)
    said = captioner.caption(images)
    assert torch.equal(captioner(teacher_forced(images, said)).argmax(-1), said)


def test_a_future_frame_never_changes_a_past_answer():
    network = FrameClassifier(pixels=36, classes=5, hidden=16)
    x = torch.rand(3, 9, 6, 6)
    p = network(x)
    for t in range(1, 9):
        other = x.clone()
        other[:, t:] = torch.rand(3, 9 - t, 6, 6)
        changed = network(other)
        assert torch.equal(changed[:, :t], p[:, :t])
        assert not torch.equal(changed[:, t], p[:, t])


def test_frames_one_by_one():
    network = FrameClassifier(pixels=36, classes=5, hidden=16)
    x = torch.rand(3, 9, 6, 6)
    state, answers = None, []
    for frame in x.unbind(1):
        answer, state = network.step(frame, state)
        answers.append(answer)
    torch.testing.assert_close(torch.stack(answers, 1), network(x))
