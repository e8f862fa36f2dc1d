"""The tables of bench/README.md hold the figures of bench/results/."""

import json
import re
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
MACHINES = (
    "amd-epyc-family-26-model-2-stepping-1-avx512-2-threads",
    "amd-epyc-family-25-model-1-stepping-1-avx2-2-threads",  # the state-space models
)
RESULTS = {
    name: next(iter(runs.values()))
    for machine in MACHINES
    for name, runs in json.loads((BENCH / f"results/{machine}.json").read_text()).items()
    if name != "peak"  # which is what CI compares with, and no table
}
SECTIONS = {
    match[1]: section
    for section in re.split(r"^## ", (BENCH / "README.md").read_text(), flags=re.MULTILINE)
    if (match := re.match(r".*\n\n`python -m bench (\w+)`", section))
}


def is_rounded(text, exact):
    return abs(float(text) - exact) <= 0.501 * 10 ** -len(text.partition(".")[2])


def is_in(case, time, ratios):
    medians = {row: figures["median"] for row, figures in case["rows"].items()}
    ours = next(median for row, median in medians.items() if row.startswith("pyneural"))
    unit = 1 if "epochs" in case else 1e3  # s for a fit, else ms
    return any(is_rounded(time, unit * median) for median in medians.values()) and all(
        any(is_rounded(ratio, median / ours) for median in medians.values()) for ratio in ratios
    )


@pytest.mark.parametrize("name", RESULTS)
def test_tables_hold_the_results(name):
    run, section = RESULTS[name], SECTIONS[name]
    assert f"commit {run['machine']['commit'].rstrip('+')}" in section
    rows = re.findall(r"^\|[^|]*(\|.*\d.*\|)$", section, re.MULTILINE)
    times = [
        time
        for row in rows
        for time in re.findall(r"([\d.]+)(?! ?%)(?: \((.*?)\))?(?= \||, )", row)
    ]
    assert len(times) >= len(run["cases"])
    for time, ratios in times:
        found = any(is_in(case, time, re.findall(r"[\d.]+(?=x)", ratios)) for case in run["cases"])
        assert found, f"{time} ({ratios}) is not in bench/results/"
