"""The table of torch's releases: read, written, and what counts as passed."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

import check_torch_versions as versions


def row(torch, python="3.11", built="yes", passed="2812", failed="0"):
    counts = (passed, failed, "1")
    cells = (torch, python, "13.0", "-", built, *counts, "all", "400", "abc1234")
    return dict(zip(versions.COLUMNS, cells, strict=True))


def test_the_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "TABLE", tmp_path / "table.md")
    assert versions.read_table() == {}
    pairs = [("2.15.0", "3.9"), ("2.9.1", "3.11"), ("2.15.0", "3.13"), ("2.13.0", "3.11")]
    rows = {pair: row(*pair) for pair in pairs}
    versions.write_table(rows)
    read = versions.read_table()
    assert read == rows
    assert list(read) == [pairs[1], pairs[3], pairs[0], pairs[2]]


def test_a_python_is_found_by_its_version_or_path():
    here = ".".join(map(str, sys.version_info[:2]))
    assert versions.python_version(versions.find_python(sys.executable)) == here
    with pytest.raises(SystemExit, match=r"expected an installed Python, got 2\.99"):
        versions.find_python("2.99")


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
