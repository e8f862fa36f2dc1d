"""The table of torch's releases: read, written, and what counts as passed."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

import check_torch_versions as versions


def row(torch, built="yes", passed="2812", failed="0"):
    cells = (torch, "13.0", built, passed, failed, "1", "400", "abc1234")
    return dict(zip(versions.COLUMNS, cells, strict=True))


def test_the_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "TABLE", tmp_path / "table.md")
    assert versions.read_table() == {}
    rows = {name: row(name) for name in ("2.15.0", "2.9.1", "2.13.0")}
    versions.write_table(rows)
    read = versions.read_table()
    assert read == rows
    assert list(read) == ["2.9.1", "2.13.0", "2.15.0"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, True), ({"built": "no"}, False), ({"failed": "1"}, False), ({"passed": "0"}, False)],
)
def test_passed_needs_a_build_and_tests(changed, expected):
    assert versions.passed({**row("2.13.0"), **changed}) == expected


def test_counts_come_from_the_summary_of_pytest():
    summary = "1 failed, 2812 passed, 3 skipped, 2 errors in 41.30s"
    found = [versions.counted(summary, what) for what in ("passed", "failed", "skipped", "error")]
    assert found == ["2812", "1", "3", "2"]
    assert versions.counted("2 passed in 1s", "failed") == "0"
