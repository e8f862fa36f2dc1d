"""``bench conditions``: losses with a gradient, and a row for each problem."""

from bench import conditions
from bench.__main__ import main


def test_rows_and_losses(capsys):
    assert main(["conditions", "--points", "50", "--rounds", "2"]) == 0
    rows = capsys.readouterr().out.splitlines()[-3:]
    assert [row.split()[0] for row in rows] == ["plain", "annulus", "periodic"]
    assert rows[0].endswith("1.00x")
    for call in conditions.problems(50).values():
        first = call()
        assert first > 0
        assert call() == first
