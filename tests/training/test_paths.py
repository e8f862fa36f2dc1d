"""Where files are to be written, and folders in their place."""

import pytest
from torch import nn

from pyneural.training import Adam, Sequential, Trainer, callbacks
from tests.training.fits import X, Y
from tests.training.problems import small_pinn


def new_model():
    model = Sequential([nn.Linear(3, 1)])
    model.compile("sgd", "mse")
    return model


WAYS = {
    "save: path": lambda path: new_model().save(path),
    "fit: checkpoint": lambda path: new_model().fit(X, Y, verbose=0, checkpoint=path),
    "Trainer: checkpoint": lambda path: Trainer(small_pinn(), [Adam(1)], checkpoint=path).fit(),
    "ModelCheckpoint: filepath": lambda path: new_model().fit(
        X, Y, verbose=0, callbacks=[callbacks.ModelCheckpoint(path)]
    ),
    "CSVLogger: filename": lambda path: new_model().fit(
        X, Y, verbose=0, callbacks=[callbacks.CSVLogger(path)]
    ),
}


@pytest.mark.parametrize("argument", WAYS)
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_folder_is_left_alone(tmp_path, argument, kind):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "data.csv").write_text("1")
    with pytest.raises(IsADirectoryError, match=f"{argument}: expected a file, got the folder"):
        WAYS[argument](kind(folder))
    assert [entry.name for entry in tmp_path.iterdir()] == ["results"]
    assert (folder / "data.csv").read_text() == "1"


@pytest.mark.parametrize("argument", WAYS)
def test_a_missing_folder_is_made(tmp_path, argument):
    path = tmp_path / "a" / "b" / "run.safetensors"
    WAYS[argument](path)
    assert path.is_file()


@pytest.mark.parametrize("argument", WAYS)
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, argument):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match=f"{argument}: expected a directory .*/a'"):
        WAYS[argument](tmp_path / "a" / "run.safetensors")


def test_a_folder_by_the_fields_of_a_name(tmp_path):
    (tmp_path / "epoch-01").mkdir()
    save = callbacks.ModelCheckpoint(tmp_path / "epoch-{epoch:02d}")
    with pytest.raises(IsADirectoryError, match="epoch-01"):
        new_model().fit(X, Y, verbose=0, callbacks=[save])
