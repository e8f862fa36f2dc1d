"""The galaxies: equal to what pandas reads, and no pickle is executed or believed."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch

from pyneural import data
from pyneural.data import packages
from pyneural.data.galaxies import _read_table

FILE = "pzflow/example_files/galaxy-data.pkl"


@pytest.fixture(scope="module")
def genuine():
    """The file of pzflow, from the installed package or the wheel at $PZFLOW_WHEEL."""
    try:
        return packages.package_file("", "pzflow", FILE, os.environ.get("PZFLOW_WHEEL"))
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture
def wheel(genuine, tmp_path):
    path = tmp_path / "pzflow-4.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(FILE, genuine)
    return path


def test_values_are_those_that_pandas_reads(genuine):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_pickle(io.BytesIO(genuine))
    assert tuple(table.columns) == data.GALAXY_COLUMNS
    np.testing.assert_array_equal(_read_table(genuine), table.to_numpy())


def test_split_is_fixed(wheel):
    train, validation, test = data.galaxies(wheel)
    assert [list(part.shape) for part in (train, validation, test)] == [
        [80_000, 7],
        [10_000, 7],
        [10_000, 7],
    ]
    assert train.dtype == torch.float32
    assert torch.equal(data.galaxies(wheel).test, test)
    rows = torch.cat([train, validation, test])
    assert len(rows.unique(dim=0)) == 100_000
    assert 0.01 < rows[:, 0].min() < rows[:, 0].max() < 2.3
    mean = torch.tensor([1.0099, 26.8826])
    torch.testing.assert_close(rows.double().mean(0)[:2], mean.double(), rtol=0, atol=1e-4)


def test_neither_pandas_nor_pzflow_is_imported(wheel):
    code = (
        "import sys; from pyneural import data; data.galaxies(sys.argv[1]);"
        "print({'pandas', 'pzflow', 'jax'} & set(sys.modules))"
    )
    path = os.pathsep.join(part for part in sys.path if part)
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code, str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "set()"


def test_installed_package_is_found_by_its_metadata(tmp_path, monkeypatch, genuine):
    file = tmp_path / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(genuine)
    information = tmp_path / "pzflow-4.0.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pzflow\nVersion: 4.0.0\n")
    (tmp_path / "pzflow" / "__init__.py").write_text("raise ImportError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(data.galaxies().train) == 80_000


class Harm:
    def __reduce__(self):
        return (Path.write_text, (Path("harm"), "done"))


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return (self.function, self.arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Harm()), r"got the name pathlib.*Path\.write_text; give the wheel"),
        (pickle.dumps(Call(eval, "1 + 1")), r"got the name builtins\.eval; give the wheel"),
        (pickle.dumps(Call(getattr, [], "append")), r"got the name builtins\.getattr"),
        (pickle.dumps([1, 2]), "expected the table of 100,000 galaxies"),
        (b"no pickle", "expected the table of 100,000 galaxies"),
        (b"", "expected the table of 100,000 galaxies"),
    ],
    ids=["write", "eval", "getattr", "list", "text", "empty"],
)
def test_other_pickles_are_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "galaxy-data.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.galaxies(path)
    assert [file.name for file in tmp_path.iterdir()] == ["galaxy-data.pkl"]


def test_damaged_files_are_refused(tmp_path, genuine):
    path = tmp_path / "galaxy-data.pkl"
    for content in (genuine[:400], genuine[:3_000_000], genuine.replace(b"redshift", b"blueshif")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.galaxies: path: expected the table"):
            data.galaxies(path)


def test_wrong_paths_name_the_remedy(tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", missing)
    with pytest.raises(ImportError, match="pip install --no-deps pzflow"):
        data.galaxies()
    with pytest.raises(FileNotFoundError, match=r"expected a file, got .*nowhere; pip install"):
        data.galaxies(tmp_path / "nowhere")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(ValueError, match=r"expected a wheel with .* got .*other\.whl without it"):
        data.galaxies(tmp_path / "other.whl")
