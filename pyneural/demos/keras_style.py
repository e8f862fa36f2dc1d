"""The Keras snippet of the slides, with `keras` replaced by `pyneural`.

    from keras.models import Sequential   ->   from pyneural.models import ...

The slide leaves the layers, the loss and the optimizer open: they are filled
in for a network that tells digits of 8 x 8 pixels. The text is changed in
this one word and then run as it stands. Prints it and the accuracy; writes
keras-style.png, the loss curve and predictions.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from pyneural import data, plots
from pyneural.demos._options import print_row, whole

SYSTEMS = ("S14",)
SUMMARY = "Keras's snippet of the slides, as it stands."
NEXT = "pyneural demo loss-doctor: what the curves of a training say"
SNIPPET = """\
from keras.models import Sequential
# can upload pretrained models from keras.models
from keras.layers import Dense, Conv2D, MaxPooling2D, Flatten
# create model
model = Sequential()

# create the model architecture by adding model layers
model.add(Conv2D(16, kernel_size=3, activation="relu",
                 input_shape=(8, 8, 1)))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(64, activation="relu"))
model.add(Dense(10, activation="softmax"))

# need to choose the loss function, metric, optimization scheme
model.compile(optimizer="adam", loss="categorical_crossentropy",
              metrics=["accuracy"])

# need to learn what to look for - always plot the loss function!
history = model.fit(x_train, y_train, validation_data=(x_test, y_test),
                    epochs=EPOCHS, batch_size=100, verbose=1)
# note that the model allows to give a validation test,
# this is for a 3fold cross validation: train-validate-test
# predict
test_y_predictions = model.predict(validate_X)
"""
HELD_BACK, SHOWN = 180, 24  # digits that are only predicted; of these in the picture
OPTIONS = {"--epochs": whole("passes through the digits", 20, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    (x, y), (x_other, y_other) = data.digits_8x8()
    names = {"x_train": x, "x_test": x_other[HELD_BACK:], "validate_X": x_other[:HELD_BACK]}
    given: dict[str, Any] = {
        name: images.view(-1, 8, 8, 1).numpy() / 16 for name, images in names.items()
    }
    labels = {"y_train": y, "y_test": y_other[HELD_BACK:]}
    given |= {name: np.eye(10, dtype="float32")[of.numpy()] for name, of in labels.items()}
    text = SNIPPET.replace("keras", "pyneural").replace("EPOCHS", str(args.epochs))
    print("".join(f"  {line}\n" if line else "\n" for line in text.splitlines()))
    exec(text, given)
    history, answers = given["history"], torch.tensor(given["test_y_predictions"]).argmax(1)
    truth = y_other[:HELD_BACK]
    right = float((answers == truth).float().mean())
    print_row("parameters", f"{given['model'].count().total:,}")
    print_row("accuracy", f"{right:.1%} of {HELD_BACK} digits that were only predicted")
    return plots.classified_images(
        x_other[:SHOWN].view(-1, 8, 8) / 16, answers[:SHOWN].tolist(), truth[:SHOWN].tolist(),
        history["loss"], history["val_loss"],
        f"Recognised: {right:.1%} of {HELD_BACK} new images",
    )  # fmt: skip
