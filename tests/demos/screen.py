"""Runs a demo as a user does, and reads its screen."""

from __future__ import annotations

from pyneural import cli


def run_demo(name, tmp_path, capsys, *options):
    """What the demo prints; it fits the screen, and the picture alone is written."""
    assert cli.main(["demo", name, "--out", str(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if not line.startswith("  picture")]
    assert [line for line in lines if len(line) >= 80] == []
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return out


def value(out, name):
    """What stands in the row of that name."""
    (line,) = [line for line in out.splitlines() if line.strip().startswith(name)]
    return line.strip()[len(name) :].strip()
