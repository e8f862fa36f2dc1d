"""Which instruction sets are built, and how many files at a time."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

from environment import BuildError, Jobs, choose_isas, choose_jobs

X86 = ["default", "avx2", "avx512"]


@pytest.mark.parametrize(
    ("wish", "known", "processor", "expected"),
    [
        (None, X86, "AVX2", ["avx2", "avx512"]),
        ("", X86, "AVX512", ["avx2", "avx512"]),
        (None, X86, "DEFAULT", X86),
        (None, ["default"], "SVE256", ["default"]),
        ("all", X86, "AVX2", X86),
        ("all", ["default"], "SVE256", ["default"]),
        ("native", X86, "AVX2", ["avx2"]),
        ("native", X86, "AVX512", ["avx512"]),
        ("native", X86, "DEFAULT", ["default"]),
        ("native default", X86, "AVX512", ["default", "avx512"]),
        ("native avx2", X86, "AVX2", ["avx2"]),
        ("native", ["default"], "SVE256", ["default"]),
        ("avx512 default", X86, "AVX2", ["default", "avx512"]),
        ("avx2,default", X86, "AVX2", ["default", "avx2"]),
    ],
)
def test_sets_of_today_unless_some_are_named(wish, known, processor, expected):
    assert choose_isas(wish, known, processor) == expected


@pytest.mark.parametrize("wish", ["sse9", "AVX2", "default sse9", "native sse9"])
def test_an_unknown_set_is_refused_in_one_line(wish):
    expected = "expected some of native, all, default, avx2, avx512, got"
    with pytest.raises(BuildError, match=expected) as caught:
        choose_isas(wish, X86, "AVX2")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wish", "processors", "gib", "expected"),
    [
        (None, 8, 64, Jobs(8, 8)),
        ("", 8, 64, Jobs(8, 8)),
        (None, 8, 5, Jobs(8, 2)),
        (None, 2, 1, Jobs(2, 1)),
        (None, 4, None, Jobs(4, 4)),
        ("3", 8, 1, Jobs(3, 3)),
    ],
)
def test_as_many_files_at_a_time_as_processors_and_memory_allow(wish, processors, gib, expected):
    assert choose_jobs(wish, processors, None if gib is None else gib * 2**30) == expected


@pytest.mark.parametrize("wish", ["0", "-2", "two", "1.5"])
def test_a_number_of_jobs_that_is_none_is_refused(wish):
    with pytest.raises(BuildError, match="MAX_JOBS: expected a whole number above 0, got"):
        choose_jobs(wish, 8, None)
