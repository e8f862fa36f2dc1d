"""``bench pde``: a row for each problem, with error and seconds."""

from __future__ import annotations

import json

import pytest

from bench.__main__ import main
from bench.pde import PUBLISHED
from bench.peers import gallery_deepxde
from pyneural.pde.gallery import GALLERY


def test_a_row_for_each_problem(capsys, tmp_path):
    file = tmp_path / "pde.json"
    options = ["--rounds", "2", "--share", "0.01", "--threads", "1", "--json", str(file)]
    assert main(["pde", "--case", "poisson-1d", "burgers", *options]) == 0
    *_, header, first, second = capsys.readouterr().out.splitlines()
    columns = [
        "parameters",
        "seconds",
        "worked",
        "median",
        "worst",
        "stated",
        "DeepXDE",
        "published",
    ]
    assert header.split() == columns
    name, _, _, _, median, worst, *_ = first.split()
    assert name == "poisson-1d"
    assert 0 < float(median) <= float(worst)
    assert "SSBroyden" in second
    kept = json.loads(file.read_text())["pde"]
    assert set(kept) == {"poisson-1d", "burgers"}
    assert all(entry["seconds"] > 0 < entry["worked"] for entry in kept.values())


def test_the_peer_gets_as_many_seconds(capsys, monkeypatch):
    """DeepXDE is in no extra: a stand-in that gives its seconds for an error."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "deepxde")
    monkeypatch.setattr(gallery_deepxde, "PROBLEMS", {"heat": lambda seconds, seed: seconds})
    assert (
        main(["pde", "--case", "heat", "--rounds", "1", "--share", "0.01", "--threads", "1"]) == 0
    )
    row = capsys.readouterr().out.splitlines()[-1].split()
    # One of them is printed with a digit behind the point, the other with two digits.
    assert float(row[-1]) == pytest.approx(float(row[2]), abs=0.06, rel=0.06)


def test_published_figures_are_of_problems_of_the_gallery():
    assert set(PUBLISHED) <= set(GALLERY)
