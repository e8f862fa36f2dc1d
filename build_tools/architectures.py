"""The kinds of GPU to build the CUDA kernels for, as `TORCH_CUDA_ARCH_LIST` names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from environment import BuildError

# Tensor cores for tf32 and float64, asynchronous copies.
LEAST = (8, 0)
# The first toolkit with code for Blackwell, compute capability 10.0 and 12.0.
CUDA_OF_BLACKWELL = (12, 8)
# Code of X.0 runs on every X.Y. Only code of 9.0a has Hopper's products of warpgroups, and its PTX
# runs nowhere else; the PTX of another one is for GPUs that are newer than the toolkit.
BEFORE_BLACKWELL = "8.0+PTX;9.0a"
WITH_BLACKWELL = "8.0;9.0a;10.0+PTX;12.0"
# The compute capabilities, ten times, from which on nvcc makes another PTX of a source: it does so
# for Blackwell of any, and sources in csrc/ have code for Hopper (products of warpgroups in 9.0a,
# bulk copies, clusters), of attention for halves alone. kernel_image.cu tells whether there is code
# for a GPU at all.
STEPS = (80, 100)
STEPS_WITH_HOPPER = (80, 90, 100)
WITH_HOPPER = (
    "attention/attention_backward_halves.cu",
    "attention/attention_forward_halves.cu",
    "common/kernel_image.cu",
    "rnn/rnn_cuda.cu",
)
# The names that torch takes too.
GENERATIONS = {
    "Volta": "7.0+PTX",
    "Turing": "7.5+PTX",
    "Ampere": "8.0+PTX",
    "Ada": "8.9+PTX",
    "Hopper": "9.0+PTX",
    "Blackwell": "10.0;12.0+PTX",
}

Devices = Callable[[], Sequence[tuple[int, int]]]


def choose_architectures(wish: str | None, toolkit: tuple[int, ...], devices: Devices) -> str:
    """The list for torch, from what the user set; prints what is built otherwise than wished.

    Args:
        wish: `TORCH_CUDA_ARCH_LIST`; None or empty for the GPUs of this machine, and "all", as
            where it has none, for all that the toolkit knows.
        toolkit: the version of CUDA.
        devices: gives the compute capability of each GPU of this machine.

    Raises:
        BuildError: a name that is none, "native" without a GPU, or nothing from 8.0 on.

    Example:
        >>> choose_architectures("7.5;9.0", (13, 0), list)
        pyneural: TORCH_CUDA_ARCH_LIST: 7.5 is left out, the kernels need 8.0 or newer
        pyneural: TORCH_CUDA_ARCH_LIST: 9.0 is built as 9.0a, which has all of its tensor cores
        '9.0a'
    """
    wish = (wish or "").strip()
    known = WITH_BLACKWELL if toolkit >= CUDA_OF_BLACKWELL else BEFORE_BLACKWELL
    if wish.lower() == "all":
        return known
    if not wish:
        return _known_of(devices(), known)
    if wish == "native":
        names = [f"{major}.{minor}" for major, minor in devices()]
        if not names:
            raise BuildError(
                "TORCH_CUDA_ARCH_LIST=native, but this machine shows no GPU; name the compute "
                "capability of the one that the kernels are for (9.0a), or unset it for all"
            )
    else:
        names = wish.replace(" ", ";").split(";")
        names = [part for name in names for part in GENERATIONS.get(name, name).split(";")]
    chosen = [each for name in names if name for each in _built_as(name)]
    if not chosen:
        raise BuildError(
            f"TORCH_CUDA_ARCH_LIST={wish}: expected a compute capability of 8.0 or newer; add one "
            "(8.0, 9.0a), or set PYNEURAL_CUDA=0, by which such a GPU is served by torch's own "
            "functions"
        )
    return ";".join(dict.fromkeys(chosen))


def _known_of(devices: Sequence[tuple[int, int]], known: str) -> str:
    """What of `known` these GPUs run: all where one of them runs none, or there is none."""
    of_major = {name.partition(".")[0]: name for name in known.split(";")}
    majors = dict.fromkeys(str(major) for major, _ in devices)
    if not majors or any(major not in of_major for major in majors):
        return known
    chosen = ";".join(of_major[major] for major in majors)
    print(
        f"pyneural: CUDA kernels for the GPUs of this machine, {chosen}; TORCH_CUDA_ARCH_LIST=all "
        "builds for all"
    )
    return chosen


def _built_as(name: str) -> list[str]:
    match = re.fullmatch(r"(\d+)\.(\d)([af]?)(\+PTX)?", name)
    if match is None:
        raise BuildError(
            f"TORCH_CUDA_ARCH_LIST: expected numbers such as 8.0, 9.0a or 10.0+PTX, got {name!r}; "
            "unset it to build for all"
        )
    capability, with_ptx = (int(match[1]), int(match[2])), bool(match[4])
    if capability < LEAST:
        print(f"pyneural: TORCH_CUDA_ARCH_LIST: {name} is left out, the kernels need 8.0 or newer")
        return []
    if capability != (9, 0) or (match[3] and not with_ptx):
        return [name]
    if not match[3]:
        print(
            f"pyneural: TORCH_CUDA_ARCH_LIST: {name} is built as 9.0a, which has all of its "
            "tensor cores"
        )
    return ["9.0a", "8.0+PTX"] if with_ptx else ["9.0a"]


def targets(architectures: str, source: str) -> dict[str, list[str]]:
    """What nvcc makes of a list as `choose_architectures` gives it: code, by the PTX it comes from.

    Kinds of GPU for which the PTX would be the same are compiled from one, of the oldest of them:
    half of the time goes into it.

    Args:
        architectures: the list.
        source: its path under csrc/.

    Example:
        >>> targets("8.0;9.0a;10.0+PTX;12.0", "dense/dense_cuda.cu")
        {'compute_80': ['sm_80', 'sm_90'], 'compute_100': ['sm_100', 'sm_120', 'compute_100']}
        >>> targets("9.0a;10.0+PTX;12.0", "attention/attention_forward_halves.cu")
        {'compute_90a': ['sm_90a'], 'compute_100': ['sm_100', 'sm_120', 'compute_100']}
    """
    steps = STEPS_WITH_HOPPER if source in WITH_HOPPER else STEPS
    alike: dict[int, list[str]] = {}
    for name in architectures.split(";"):
        generation = max(step for step in steps if step <= _number(name))
        alike.setdefault(generation, []).append(name)
    found = {}
    for names in alike.values():
        # Code of its own generation alone, as 9.0a is, is no code for others.
        exact = {name.removesuffix("+PTX").replace(".", "") for name in names}
        numbers = sorted(
            exact if len(exact) == 1 else {str(_number(name)) for name in names}, key=_number
        )
        has_ptx = any(name.endswith("+PTX") for name in names)
        virtual = f"compute_{numbers[0]}"
        found[virtual] = [f"sm_{number}" for number in numbers] + [virtual] * has_ptx
    return found


def nvcc_flags(architectures: str, source: str) -> list[str]:
    """The flags by which nvcc compiles a source for a list, see `targets`.

    Example:
        >>> nvcc_flags("9.0a", "rnn/rnn_cuda.cu")
        ['-gencode=arch=compute_90a,code=sm_90a']
    """
    return [
        f"-gencode=arch={virtual},code=" + (f"[{','.join(code)}]" if len(code) > 1 else code[0])
        for virtual, code in targets(architectures, source).items()
    ]


def _number(name: str) -> int:
    """The compute capability, ten times: 90 of "9.0a", and of "90a"."""
    return int(re.sub(r"\D", "", name))
