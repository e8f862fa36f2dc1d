"""The demo of two groups with unequal shares, with short trainings."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from pyneural import cli
from pyneural.demos import bias as demo
from pyneural.experiments import bias

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Few updates, for digits alone."""
    pytest.importorskip("sklearn")
    digits = bias.digit_groups()
    few = {"digits": lambda: replace(digits, steps=30)}
    monkeypatch.setattr(demo, "PROBLEMS", few)


def run(folder, *options):
    return cli.main(["demo", "bias", "--out", str(folder), *options])


def test_tables_and_picture(tmp_path, capsys):
    assert run(tmp_path, "--seeds", "2") == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) < 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bias.csv", "bias.json", "bias.png"]
    with open(tmp_path / "bias.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    assert "shown" not in rows[0]
    found = json.loads((tmp_path / "bias.json").read_text())
    assert len(found["rows"]) == 16
    # What is printed is the ratio of what stands in the table.
    of = {(row["setting"], row["seed"]): float(row["error_0"]) for row in rows}
    ratios = [of["5:95", seed] / of["50:50", seed] for seed in ("0", "1")]
    mean = (ratios[0] * ratios[1]) ** 0.5
    (line,) = [line for line in lines if line.strip().startswith("5 % / control")]
    assert float(line.split()[4]) == pytest.approx(mean, abs=0.006)
    parts = found["conclusions"]["reconstruction of digits"]
    assert parts["ratios"]["digits with a loop"]["5 % / control"]["mean"] == pytest.approx(mean)
    for lines_of_group in parts["sentences"].values():
        assert all(sentence in out for sentence in lines_of_group)


def test_one_seed_cannot_tell(tmp_path, capsys):
    assert run(tmp_path, "--seeds", "1") == 0
    out = capsys.readouterr().out
    assert out.count("(no spread): can't tell\n") == 4
    assert "the bias is in the data" not in out


def test_interrupted_and_resumed(tmp_path, capsys, monkeypatch):
    calls, measure = [], bias.trainings.measure

    def measured(problem, setting, seed, shown=False):
        calls.append(setting.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(problem, setting, seed, shown)

    monkeypatch.setattr(bias.trainings, "measure", measured)
    assert run(tmp_path, "--seeds", "1") == cli.INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == ["bias-cells.json"]
    assert run(tmp_path, "--seeds", "1") == 0
    assert len(calls) == 9  # the fourth twice


def test_thorough(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "THOROUGH_SEEDS", 1)
    assert run(tmp_path, "--thorough") == 0
    assert "120 updates" in capsys.readouterr().out
    assert (tmp_path / "bias-thorough.png").exists()


@pytest.mark.parametrize("options", [("--seeds", "0"), ("--data", "mnist")])
def test_refused(options, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, *options)
    assert options[0] in capsys.readouterr().err
