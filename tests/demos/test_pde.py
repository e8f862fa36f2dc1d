"""The demo of the gallery of differential equations, with a twentieth of the steps."""

import re

import pytest

from pyneural import cli
from pyneural.pde.gallery import GALLERY

pytest.importorskip("matplotlib")


def run(tmp_path, capsys, *arguments):
    assert cli.main(["demo", "pde", "--out", str(tmp_path), *arguments]) == 0
    return capsys.readouterr().out


def test_list_names_all(tmp_path, capsys):
    lines = run(tmp_path, capsys, "--list").splitlines()
    assert [line.split()[0] for line in lines] == list(GALLERY)
    assert all(len(line) < 80 and len(line.split()) > 1 for line in lines)
    assert list(tmp_path.iterdir()) == []


# A section of fields, curves, a reference at some points only.
@pytest.mark.parametrize("name", ["taylor-green", "poisson-1d", "cylinder"])
def test_prints_the_error_and_writes_the_picture(name, tmp_path, capsys):
    out = run(tmp_path, capsys, name, "--quick")
    (error,) = re.findall(r"relative L2 +([\d.e+-]+), stated", out)
    assert 0 < float(error) < 3
    assert [path.name for path in tmp_path.iterdir()] == [f"pde-{name}.png"]
    assert (tmp_path / f"pde-{name}.png").read_bytes().startswith(b"\x89PNG")
    lines = [line for line in out.splitlines() if not line.startswith("  picture")]
    assert max(map(len, lines)) < 80


def test_one_seed_gives_one_result(tmp_path, capsys):
    def error(seed):
        out = run(tmp_path, capsys, "poisson-1d", "--quick", "--seed", seed)
        return re.findall(r"relative L2 +(\S+)", out)

    assert error("1") == error("1") != error("2")


def test_without_a_name(tmp_path, capsys):
    assert cli.main(["demo", "pde", "--out", str(tmp_path)]) == 2
    assert "NAME: expected an equation" in capsys.readouterr().err


def test_another_name(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "pde", "head"])
    assert "invalid choice: 'head'" in capsys.readouterr().err
