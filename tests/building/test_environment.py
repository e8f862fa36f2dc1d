"""Which instruction sets are built."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

from environment import BuildError, choose_isas

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
