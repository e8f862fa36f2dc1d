"""What is measured of samples: quality, diversity, copies."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pyneural.experiments.comparison.data import DataSet, Preparation
from pyneural.metrics import (
    c2st,
    class_coverage,
    frechet_distance,
    kernel_distance,
    memorisation,
    precision_recall,
    sharpness,
    sliced_wasserstein,
)
from pyneural.metrics.neighbours import nearest_distances
from pyneural.models import ImageClassifier, train_image_classifier

EPOCHS = 200  # of the classifier of C2ST, at most
_DIRECTIONS = 50  # of the sliced Wasserstein distance of a look
_COMPONENTS = 64  # principal ones, features of images without labels
_NEAR = 1_000  # samples whose nearest rows are looked for, at most
_STEPS = 2_000  # of the training of the classifier of images, about


class Features:
    """What samples are compared by: whitened columns, or features of images.

    Those are the last hidden layer of a classifier that is trained on all the images, if they have
    labels; else their first 64 principal components. They are the same for all models and seeds.
    """

    def __init__(self, data: DataSet) -> None:
        self.data = data

    @cached_property
    def classifier(self) -> ImageClassifier | None:
        """The classifier of images with labels."""
        labels = self.data.labels
        if not self.data.is_images or labels is None:
            return None
        images = self._images(self.data.x)
        epochs = max(1, min(20, round(_STEPS * 64 / len(images))))
        classes = int(labels.max()) + 1
        return train_image_classifier(images, labels, classes=classes, epochs=epochs)

    @cached_property
    def axes(self) -> Tensor:
        """Principal components of images, [D, F], in units of the largest standard deviation."""
        x = self.data.x - self.data.x.mean(0)
        values, vectors = torch.linalg.eigh(x.T.cov())
        return vectors[:, -_COMPONENTS:] / values[-1].sqrt()

    def __call__(self, x: Tensor, preparation: Preparation, seed: int = 0) -> Tensor:
        """Features [N, F] of x [N, D]."""
        if not self.data.is_images:
            return preparation.forward(x, seed).rows
        if self.classifier is None:
            return (x @ self.axes).float()
        return self.classifier.features(self._images(x))

    def probabilities(self, x: Tensor) -> Tensor | None:
        """Of each class, [N, classes]; None where there are no labels."""
        return None if self.classifier is None else self.classifier.probabilities(self._images(x))

    def _images(self, x: Tensor) -> Tensor:
        low, high = self.data.x.aminmax()
        return ((x - low) / (high - low)).float().unflatten(1, self.data.shape)


class Judge:
    """Measures of samples against held-out rows.

    Args:
        features: of samples.
        preparation: units of the models.
        train: rows x that the models are trained on, [N, D].
        held_out: rows x that they are not.
        count: samples and held-out rows that are compared, at most.
        epochs: of the classifier of C2ST, at most.
    """

    def __init__(
        self,
        features: Features,
        preparation: Preparation,
        train: Tensor,
        held_out: Tensor,
        count: int,
        epochs: int = EPOCHS,
    ) -> None:
        self.features, self.preparation, self.data = features, preparation, preparation.data
        self.train, self.all_held_out, self.epochs = train, held_out, epochs
        self.held_out = held_out[:count]
        self.count = len(self.held_out)

    @cached_property
    def real(self) -> Tensor:
        """Features of held-out rows."""
        return self.features(self.held_out, self.preparation, 1)

    def quality(self, x: Tensor) -> float:
        """Sliced Wasserstein distance of the features of samples, for looks."""
        found = self.features(x, self.preparation, 2)
        return sliced_wasserstein(found, self.real, directions=_DIRECTIONS)

    def measures(self, x: Tensor, *, copies: bool = True) -> dict[str, Any]:
        """All measures of samples x, as many as ``count``.

        Args:
            x: samples.
            copies: whether to look for copies of training rows.
        """
        found = self.features(x, self.preparation, 2)
        values: dict[str, Any] = {"c2st": c2st(found, self.real, epochs=self.epochs)}
        values["sliced_wasserstein"] = sliced_wasserstein(found, self.real)
        precision, recall = precision_recall(self.real, found)
        values |= {"precision": precision, "recall": recall}
        if self.data.is_images:
            values |= self._of_images(x, found)
        else:
            values |= self._of_columns(x)
        if copies:
            values |= self._copies(x)
        return values

    def _of_images(self, x: Tensor, found: Tensor) -> dict[str, Any]:
        values: dict[str, Any] = {
            "frechet": frechet_distance(found, self.real),
            "kernel": kernel_distance(found, self.real),
        }
        probabilities = self.features.probabilities(x)
        if probabilities is not None:
            classes = class_coverage(probabilities)
            values |= {"confident": classes.confident, "classes": classes.covered}
        return values | {"sharpness": self.sharpness(x)}

    def sharpness(self, x: Tensor) -> float:
        """Mean variance of the Laplacian of images, as a multiple of that of held-out ones."""
        shape: Any = self.data.shape
        both = (sharpness(rows.unflatten(1, shape)).mean() for rows in (x, self.held_out))
        of_samples, of_data = both
        return float(of_samples / of_data)

    def _of_columns(self, x: Tensor) -> dict[str, Any]:
        """The largest difference of correlations, and of distribution functions of a column."""
        first, second = (rows.T.corrcoef().nan_to_num() for rows in (x, self.held_out))
        differences = [_kolmogorov(a, b) for a, b in zip(x.T, self.held_out.T, strict=True)]
        low, high = self.train.amin(0), self.train.amax(0)
        outside = ((x < low) | (x > high)).any(1)
        return {
            "correlation": float((first - second).abs().max()),
            "marginal": max(differences),
            "outside": float(outside.double().mean()),
        }

    def _copies(self, x: Tensor) -> dict[str, Any]:
        """How close samples are to training rows, against held-out ones.

        ``closer`` is the probability that a sample is closer to its nearest training row than a
        held-out row is. ``copied`` estimates the share of the samples that are copies: with the
        training rows in K parts as large as the held-out ones, sum_k 2 (P_k - 1/2) where P_k is the
        share of the samples that are closer to a row of part k than to a held-out one; of new
        samples it is 0, of copies 1. Of samples that are nearly the same it is not to be trusted:
        ``closer`` then is low.
        """
        rows = self._near
        samples, train = rows(x[:_NEAR]), rows(self.train)
        held_out = rows(self.all_held_out)
        found = {"closer": memorisation(samples, train, held_out[:_NEAR]).share}
        to_new = nearest_distances(samples, held_out)
        parts = [part for part in train.split(len(held_out)) if len(part) == len(held_out)]
        total = 0.0
        for part in parts:
            to_known = nearest_distances(samples, part)
            nearer = (to_known < to_new).double() + 0.5 * (to_known == to_new).double()
            total += 2 * float(nearer.mean()) - 1
        estimate = total * len(train) / (len(held_out) * len(parts))
        return found | {"copied": min(1.0, max(-1.0, estimate))}

    def _near(self, x: Tensor) -> Tensor:
        """Rows whose distances are looked at."""
        if self.data.is_images:
            return self.preparation.unit(x).double()
        return self.preparation.forward(x, None).rows.double()


def _kolmogorov(x: Tensor, y: Tensor) -> float:
    """The largest difference of the distribution functions of two sets of numbers."""
    both = torch.cat([x, y]).sort().values
    of_x, of_y = (
        torch.searchsorted(values.sort().values, both, right=True).double() / len(values)
        for values in (x, y)
    )
    return float((of_x - of_y).abs().max())
