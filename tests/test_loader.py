"""Which libraries are loaded, and what is said where one cannot be."""

import os
import subprocess
import sys

import pytest
import torch

import pyneural
from pyneural import _C, _loader

BUILT = ["default", "avx2", "avx512"]


@pytest.mark.parametrize(
    ("wish", "built", "processor", "expected"),
    [
        (None, BUILT, BUILT, "avx512"),
        ("", BUILT, BUILT, "avx512"),
        (None, BUILT, ["default"], "default"),
        (None, ["default"], BUILT, "default"),
        ("avx2", BUILT, BUILT, "avx2"),
        ("default", BUILT, BUILT, "default"),
    ],
)
def test_best_set_unless_one_is_named(wish, built, processor, expected):
    assert _loader.choose_isa(wish, built, processor) == expected


@pytest.mark.parametrize(
    ("wish", "built", "processor", "text"),
    [
        ("sse9", BUILT, BUILT, "expected one of default, avx2, avx512, got 'sse9'"),
        ("AVX2", BUILT, BUILT, "got 'AVX2'"),
        ("avx512", BUILT, ["default", "avx2"], "this processor lacks it"),
        ("avx2", ["default"], BUILT, "it was not built here"),
        (None, [], BUILT, "pip install"),
        (None, ["avx2", "avx512"], ["default"], "built for avx2 and avx512, which this processor"),
    ],
)
def test_other_sets_are_refused_in_one_line(wish, built, processor, text):
    with pytest.raises(ImportError) as caught:
        _loader.choose_isa(wish, built, processor)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_exactly_one_set_is_loaded():
    _loader.load()
    names = [os.path.basename(path) for path in torch.ops.loaded_libraries]
    assert sum(name.startswith("_cpu_") for name in names) == 1
    assert _loader.loaded_isa() in _loader.processor_isas()


@pytest.mark.parametrize("torch_version", ["2.12.1", "3.13.0+cpu"])
def test_another_torch_is_refused_in_one_line(torch_version):
    with pytest.raises(ImportError, match=r"built for torch 2\.13\.0\+cpu, but torch") as caught:
        _loader.check_versions({"torch": "2.13.0+cpu", "cuda": None}, torch_version, None)
    assert "\n" not in str(caught.value)


def test_another_cuda_is_refused():
    record = {"torch": "2.13.0+cu130", "cuda": "13.0"}
    with pytest.raises(ImportError, match=r"built for CUDA 13\.0, but torch has CUDA 12\.8"):
        _loader.check_versions(record, "2.13.0+cu128", "12.8")


def test_torch_without_cuda_or_of_another_patch_version_will_do():
    _loader.check_versions({"torch": "2.13.0+cu130", "cuda": "13.0"}, "2.13.1+cpu", None)


def test_missing_library_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(_loader, "_PACKAGE", tmp_path)
    with pytest.raises(ImportError, match=r"not built in .*; build them with `pip install \.`"):
        _loader.load()


@pytest.mark.parametrize("isa", _loader.processor_isas())
def test_environment_variable_decides(isa):
    if isa not in _loader.built_isas():
        pytest.skip(f"{isa} is not built")
    code = "from pyneural import _loader; _loader.load(); print(_loader.loaded_isa())"
    environment = {**os.environ, "PYNEURAL_CPU_ISA": isa}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == isa


def test_build_info_tells_how_it_was_built():
    info = _C.build_info()
    assert info["pyneural"] == pyneural.__version__
    assert info["torch"].split(".")[:2] == torch.__version__.split(".")[:2]
    assert info["isas"] == _loader.built_isas()
