"""The snippet of the course with ``keras`` replaced by ``pyneural``, its gaps filled."""

import numpy as np
import pytest

SNIPPET = """
from keras.models import Sequential
#can upload pretrained models from keras.models
from keras.layers import Dense,  Conv2D, MaxPooling2D
#create model
model = Sequential()

#create the model architecture by adding model layers
{layers}
#need to choose the loss function, metric, optimization scheme
model.compile(optimizer="adadelta", loss="mean_squared_error", metrics=["mae"])
model.summary()
#need to learn what to look for - always plot the loss function!
history = model.fit(x_train, y_train, validation_data=(x_test, y_test),
epochs=20, batch_size=100, verbose=1)
#note that the model allows to give a validation test,
#this is for a 3fold cross valiation: train-validate-test
#predict
test_y_predictions = model.predict(validate_X)
"""
DENSE = """
model.add(Dense(16, input_shape=(12,), activation="relu"))
model.add(Dense(3, activation="linear"))
"""
IMAGES = """
from keras.layers import Flatten
model.add(Conv2D(4, kernel_size=3, input_shape=(8, 8, 1), activation="relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(3))
"""


@pytest.mark.parametrize(
    ("layers", "shape", "count"), [(DENSE, (12,), 259), (IMAGES, (8, 8, 1), 151)]
)
def test_snippet_of_the_course(layers, shape, count, capsys):
    random = np.random.default_rng(0)
    given = {
        name: random.normal(size=(count, *size)).astype("float32")
        for name, count, size in (
            ("x_train", 250, shape),
            ("y_train", 250, (3,)),
            ("x_test", 60, shape),
            ("y_test", 60, (3,)),
            ("validate_X", 7, shape),
        )
    }
    exec(SNIPPET.format(layers=layers).replace("keras", "pyneural"), given)
    assert given["test_y_predictions"].shape == (7, 3)
    assert isinstance(given["test_y_predictions"], np.ndarray)
    history = given["history"]
    assert len(history["loss"]) == len(history["val_loss"]) == len(history["val_mae"]) == 20
    assert history["loss"][-1] < history["loss"][0]
    shown = capsys.readouterr()
    assert "Epoch 20/20" in shown.err
    assert f"trained {count}" in shown.out
