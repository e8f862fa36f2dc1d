"""Errors of torch in the middle of a training, in the words of what the user gave."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Names the argument where torch names its own; all other errors pass as they are."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            f"{where}: batch_size: expected at least two samples a batch, which torch's BatchNorm "
            "needs, got a batch of one sample; choose a size that leaves more than one, or "
            "layers.BatchNormalization"
        ) from error
    except IndexError as error:
        if "out of range in self" not in str(error):
            raise
        raise ValueError(
            f"{where}: x: expected whole numbers below the size of the embedding, got larger ones "
            "or some below 0; renumber them, or make it larger"
        ) from error
