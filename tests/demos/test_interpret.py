"""The demo of interpretability."""

from __future__ import annotations

import csv
import json

import pytest

from pyneural import cli
from pyneural.demos import interpret as demo

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run(tmp_path, capsys, *options):
    assert cli.main(["demo", "interpret", "--out", str(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) < 80
    return out


def test_interpret(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "EPOCHS", {"images": 2, "series": 1, "table": 4, "latent": 1})
    monkeypatch.setattr(demo._explained, "SAMPLES", {"images": 8, "series": 4, "table": 20})
    monkeypatch.setattr(demo._explained, "REPEATS", {"images": 1, "series": 1, "table": 2})
    out = run(tmp_path, capsys, "--seeds", "2")
    names = {"interpret.png", "interpret.csv", "interpret.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "interpret.png").read_bytes().startswith(b"\x89PNG")
    rows = rows_of(tmp_path / "interpret.csv")
    kinds = [row["data"] for row in rows if row["seed"] == "0"]
    assert [kinds.count(kind) for kind in ("images", "series", "table")] == [5, 6, 5]
    left = {}
    for row in rows:
        parts = abs(float(row["signed"])), abs(float(row["magnitude"]))
        assert max(parts) == pytest.approx(float(row["remaining"]))
        left.setdefault((row["data"], row["method"]), []).append(float(row["remaining"]))
    for (kind, method), values in left.items():
        mean, spread = sum(values) / 2, abs(values[0] - values[1]) / 2**0.5
        (block,) = [part for part in out.split("\n\n") if part.strip().startswith(f"{kind}   ")
                    and "signed" in part]  # fmt: skip
        (line,) = [line for line in block.splitlines() if line.strip().startswith(method)]
        assert line.endswith("trusted") == (mean + spread <= demo.BAR), line
    for method in ("gradient x input", "integrated gradients"):
        assert min(left["images", method]) > 2 * demo.BAR
    assert max(left["images", "saliency"]) < min(left["images", "integrated gradients"])
    before = json.loads((tmp_path / "interpret.json").read_text())
    monkeypatch.setattr(demo, "MAKE", dict.fromkeys(demo.MAKE))  # nothing is trained again
    assert run(tmp_path, capsys, "--seeds", "2") == out
    assert json.loads((tmp_path / "interpret.json").read_text()) == before


@pytest.mark.parametrize(
    ("areas", "words"),
    [
        ({"a": [0.1, 0.11, 0.12], "b": [0.5, 0.51, 0.52]}, "a finds"),
        ({"a": [0.1, 0.3, 0.2], "b": [0.11, 0.29, 0.26]}, "can't be told from b"),
        ({}, "no method is below 0.2"),
    ],
)
def test_conclusion(areas, words):
    pytest.importorskip("scipy")
    rows = [
        {"data": "images", "method": name, "deletion area": value}
        for name, values in areas.items()
        for value in values
    ]
    assert words in demo._conclusion("images", list(areas), rows)
    assert ("told" in demo._conclusion("images", list(areas), rows)) == ("told" in words)
