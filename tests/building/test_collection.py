"""How the tests themselves are collected."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_module_with_doctests_is_loaded_once():
    """Else a test changes one copy of it, and what it tests is the other."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "line_each_time",
        "pyneural/progress.py", "tests/test_progress.py",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-3000:]
    assert "1 passed" in found.stdout
