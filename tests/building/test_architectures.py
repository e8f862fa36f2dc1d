"""Which GPUs the CUDA kernels are built for, and with which toolkits."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

from architectures import choose_architectures, nvcc_flags, targets
from environment import BuildError, find_cuda

H100, V100, A100, B200 = (9, 0), (7, 0), (8, 0), (10, 0)
NEW, OLD = (13, 0), (12, 6)


@pytest.mark.parametrize(
    ("wish", "toolkit", "devices", "expected", "said"),
    [
        (None, NEW, [], "8.0;9.0a;10.0+PTX;12.0", ""),
        (" ", OLD, [], "8.0+PTX;9.0a", ""),
        ("All", NEW, [H100], "8.0;9.0a;10.0+PTX;12.0", ""),
        (None, NEW, [H100, H100], "9.0a", "for the GPUs of this machine, 9.0a;"),
        (None, OLD, [(8, 6), (8, 9)], "8.0+PTX", "TORCH_CUDA_ARCH_LIST=all"),
        ("", NEW, [H100, (12, 1)], "9.0a;12.0", "for the GPUs of this machine"),
        (None, NEW, [V100, H100], "8.0;9.0a;10.0+PTX;12.0", ""),  # V100: torch's functions
        (None, NEW, [(11, 0)], "8.0;9.0a;10.0+PTX;12.0", ""),  # by the PTX
        ("8.6", NEW, [], "8.6", ""),
        ("9.0a", NEW, [], "9.0a", ""),
        ("9.0", NEW, [], "9.0a", "9.0 is built as 9.0a"),
        ("9.0+PTX", NEW, [], "9.0a;8.0+PTX", "9.0+PTX is built as 9.0a"),
        ("Hopper", NEW, [], "9.0a;8.0+PTX", "built as 9.0a"),
        ("Volta;Ampere", NEW, [], "8.0+PTX", "7.0+PTX is left out"),
        ("7.0 7.5;8.0 8.0+PTX", NEW, [], "8.0;8.0+PTX", "7.5 is left out"),
        ("10.0;12.0+PTX", NEW, [], "10.0;12.0+PTX", ""),
        ("native", NEW, [H100, H100], "9.0a", "9.0 is built as 9.0a"),
        ("native", NEW, [V100, A100, B200], "8.0;10.0", "7.0 is left out"),
    ],
)
def test_only_gpus_that_the_kernels_run_on(wish, toolkit, devices, expected, said, capsys):
    assert choose_architectures(wish, toolkit, lambda: devices) == expected
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(said) == bool(printed)


@pytest.mark.parametrize(
    ("wish", "devices", "expected"),
    [
        ("7.0;7.5", [], "expected a compute capability of 8.0 or newer"),
        ("Volta", [], "PYNEURAL_CUDA=0"),
        ("native", [V100], "expected a compute capability of 8.0 or newer"),
        ("native", [], "shows no GPU"),
        ("sm_90", [], "got 'sm_90'"),
        ("8", [], "got '8'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(wish, devices, expected):
    with pytest.raises(BuildError, match=expected) as caught:
        choose_architectures(wish, NEW, lambda: devices)
    assert "\n" not in str(caught.value)


ALL = "8.0;9.0a;10.0+PTX;12.0"
HALVES, FULL, RNN, DENSE = (
    "attention/attention_forward_halves.cu",
    "attention/attention_forward_full.cu",
    "rnn/rnn_cuda.cu",
    "dense/dense_cuda.cu",
)


@pytest.mark.parametrize(
    ("architectures", "source", "expected"),
    [
        (ALL, HALVES, ["80,code=sm_80", "90a,code=sm_90a", "100,code=[sm_100,sm_120,compute_100]"]),
        (ALL, RNN, ["80,code=sm_80", "90a,code=sm_90a", "100,code=[sm_100,sm_120,compute_100]"]),
        (ALL, DENSE, ["80,code=[sm_80,sm_90]", "100,code=[sm_100,sm_120,compute_100]"]),
        (ALL, FULL, ["80,code=[sm_80,sm_90]", "100,code=[sm_100,sm_120,compute_100]"]),
        ("8.0+PTX;9.0a", DENSE, ["80,code=[sm_80,sm_90,compute_80]"]),
        ("8.0+PTX;9.0a", HALVES, ["80,code=[sm_80,compute_80]", "90a,code=sm_90a"]),
        ("9.0a;8.0+PTX", RNN, ["90a,code=sm_90a", "80,code=[sm_80,compute_80]"]),
        ("8.0;8.0+PTX", DENSE, ["80,code=[sm_80,compute_80]"]),
        ("10.0;12.0+PTX", DENSE, ["100,code=[sm_100,sm_120,compute_100]"]),
        ("9.0a", DENSE, ["90a,code=sm_90a"]),
        ("8.6;9.0a;12.0a", DENSE, ["86,code=[sm_86,sm_90]", "120a,code=sm_120a"]),
        ("12.0", HALVES, ["120,code=sm_120"]),
    ],
)
def test_kinds_of_gpu_with_the_same_code_from_one_ptx(architectures, source, expected):
    assert nvcc_flags(architectures, source) == [f"-gencode=arch=compute_{e}" for e in expected]


CSRC = Path(__file__).parents[2] / "csrc"


def all_text_of(source, seen=()):
    """The text of a source and of all of ours that it includes."""
    text = source.read_text()
    for name in re.findall(r'#include "(.+?)"', text):
        path = next(p for p in (source.parent / name, CSRC / "common" / name) if p.exists())
        if path.resolve() not in seen:
            seen = (*seen, path.resolve())
            text += all_text_of(path, seen)
    return text


@pytest.mark.parametrize("source", sorted(CSRC.glob("*/*.cu")), ids=lambda path: path.stem)
def test_sources_that_ask_for_the_gpu_have_code_of_its_own(source):
    if source.stem in ("attention_forward_full", "attention_backward_full"):
        return  # they include what asks, for tiles of halves alone: TileLayout::kInPanels
    text = all_text_of(source)
    asked = {int(at[:2]) for at in re.findall(r"__CUDA_ARCH__ [>=]= (\d+)", text)}
    asked |= {int(at) for at in re.findall(r"__CUDA_ARCH_FEAT_SM(\d+)_ALL", text)}
    of_ptx = targets(ALL, source.relative_to(CSRC).as_posix())
    assert asked <= {int(re.search(r"\d+", virtual)[0]) for virtual in of_ptx}


def runs(architectures, source, gpu):
    """Whether what is built of a source runs on a GPU: its own code, or older PTX."""
    code = [each for codes in targets(architectures, source).values() for each in codes]
    ptx = [int(each.removeprefix("compute_")) for each in code if each.startswith("compute")]
    return any(each.rstrip("a") == f"sm_{gpu}" for each in code) or any(at <= gpu for at in ptx)


@pytest.mark.parametrize(
    "architectures", [ALL, "8.0;10.0+PTX", "9.0a;8.0+PTX", "10.0+PTX", "8.0;12.0", "8.0+PTX;9.0a"]
)
@pytest.mark.parametrize("gpu", [80, 90, 100, 120, 130])
def test_whether_there_is_code_is_asked_of_what_has_the_least(architectures, gpu):
    if runs(architectures, "common/kernel_image.cu", gpu):
        assert all(runs(architectures, source, gpu) for source in (HALVES, FULL, RNN, DENSE))


@pytest.mark.parametrize(
    ("version", "error"), [("12.0", "12.1 or newer is needed"), ("12.1", None), ("12.8", None)]
)
def test_a_toolkit_must_allow_the_kernels_parameters(version, error):
    def run(command):
        if command[-1] != "--version":
            return "#$ TOP=/opt/cuda\n"
        return f"Cuda compilation tools, release {version}, V{version}.76"

    def find():
        return find_cuda("12.8", {}, lambda name: f"/opt/cuda/bin/{name}", run)

    if error:
        with pytest.raises(BuildError, match=error):
            find()
    else:
        assert find().version == tuple(map(int, version.split(".")))


def test_a_toolkit_that_does_not_run_is_refused():
    def run(command):
        raise subprocess.CalledProcessError(1, command)

    with pytest.raises(BuildError, match="does not tell its version"):
        find_cuda("13.0", {}, lambda name: name, run)
