"""What the compiler made of each CUDA kernel, for each kind of GPU, without one.

    python build_tools/kernel_table.py                 # all kernels for all GPUs, and the table
    python build_tools/kernel_table.py sm_90a          # for one
    python build_tools/kernel_table.py sm_90a --of rnn # of this folder of csrc/; GPUs come first
    python build_tools/kernel_table.py --keep          # writes bench/results/cuda-kernels.json

Registers of a thread, bytes that it spills to memory and back, bytes of static shared memory of a
block, and instructions, by ptxas and from the size of the code; what a kernel calls counts with it.
Sources are compiled as in an installation, with warnings as errors, and so is what ptxas names a
loss of speed. Without --keep it fails where a kernel has become worse than kept: that is how
`build_tools/check_cuda.sh` compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from architectures import WITH_BLACKWELL, targets

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "bench" / "results" / "cuda-kernels.json"
ARCHITECTURES = ("sm_80", "sm_90a", "sm_100", "sm_120")
COLUMNS = ("registers", "spilled", "shared", "instructions")
# What a column may grow by before it is a regression: the same source gives the same code, but a
# change elsewhere in it may move a few registers and instructions.
ROOM = {"registers": 1.1, "spilled": 1.0, "shared": 1.0, "instructions": 1.1}
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Icsrc", "-Icsrc/common", "-cubin"]
FLAGS += ["-Werror=all-warnings", "-Xcompiler=-Wall", "-Xptxas=-v"]

Row = dict[str, int]


def code_sizes(cubin: bytes) -> Iterator[tuple[str, int]]:
    """The name and the instructions of each kernel of an ELF file: 16 bytes each."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    entry, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    # Of a section: the place of its name, its offset, its size.
    sections = [
        (
            struct.unpack_from("<I", cubin, table + i * entry)[0],
            *struct.unpack_from("<QQ", cubin, table + i * entry + 24),
        )
        for i in range(count)
    ]
    for name_at, _, size in sections:
        start = sections[names][1] + name_at
        name = cubin[start : cubin.index(b"\0", start)].decode()
        if name.startswith(".text."):
            yield name.removeprefix(".text."), size // 16


def resources(log: str) -> Iterator[tuple[str, Row]]:
    """The name and the first three columns of each kernel, from what ptxas -v says."""
    for part in log.split("Compiling entry function '")[1:]:
        used = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", part)
        yield (
            part[: part.index("'")],
            {
                "registers": int(used[1]) if used else 0,
                "spilled": sum(map(int, spilled)),
                "shared": int(shared[1]) if shared else 0,
            },
        )


def losses(log: str) -> list[str]:
    """What ptxas names a loss of speed, as products of a warpgroup that wait for one another."""
    return [line for line in log.splitlines() if "Potential Performance Loss" in line]


def short_names(mangled: list[str]) -> dict[str, str]:
    """Names as in the source, without arguments and what all have in common."""
    ran = subprocess.run(
        ["c++filt", *mangled], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    common = re.compile(r"^void |\(anonymous namespace\)::|pyneural::|\([\w:]*\)(?=\d)")
    return {
        name: common.sub("", full).partition("(")[0]
        for name, full in zip(mangled, ran.stdout.splitlines(), strict=True)
    }


def target(source: Path, architecture: str) -> str:
    """The flag by which the source is compiled for a GPU, from the PTX of an installation."""
    number = re.search(r"\d+", architecture)[0]
    path = source.relative_to(ROOT / "csrc").as_posix()
    for architectures in (WITH_BLACKWELL, f"{number[:-1]}.{number[-1]}"):
        for virtual, codes in targets(architectures, path).items():
            for code in codes:
                if code.rstrip("a") == f"sm_{number}":
                    return f"-gencode=arch={virtual},code={code}"
    raise ValueError(f"{architecture}: expected a GPU such as sm_90a")


def compile_source(source: Path, architecture: str) -> dict[str, Row]:
    """The rows of a source's kernels; exits where it does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernels.cubin")
        command = ["nvcc", *FLAGS, target(source, architecture), "-o", cubin, source]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if ran.returncode or (said := losses(ran.stderr)):
            said = ran.stdout + ran.stderr if ran.returncode else "\n".join(said)
            raise SystemExit(f"{source.name} for {architecture}:\n{said}")
        instructions = dict(code_sizes(cubin.read_bytes()))
    rows = dict(resources(ran.stderr))
    names = short_names(list(rows))
    return {names[k]: {**row, "instructions": instructions[k]} for k, row in rows.items()}


def toolkit() -> str:
    """The release of nvcc, by which the figures may differ."""
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release ([\d.]+)", said)[1]


def regressions(kept: dict, found: dict) -> list[str]:
    """What has become worse, a line each; kernels of only one side are none."""
    return [
        f"{kernel} for {architecture}: {column} {before[column]} -> {row[column]}"
        for kernel, rows in found.items()
        for architecture, row in rows.items()
        if (before := kept.get(kernel, {}).get(architecture))
        for column in COLUMNS
        if row[column] > before[column] * ROOM[column]
    ]


def table(found: dict[str, dict[str, Row]]) -> str:
    """A line for each kernel and GPU."""
    width = max(map(len, found))
    head = f"{'kernel':{width}}  {'GPU':7}" + "".join(f"{name:>14}" for name in COLUMNS)
    return "\n".join(
        [head]
        + [
            f"{kernel:{width}}  {gpu:7}" + "".join(f"{row[name]:14,}" for name in COLUMNS)
            for kernel, rows in sorted(found.items())
            for gpu, row in rows.items()
        ]
    )


def write(release: str, kernels: dict[str, dict[str, Row]]) -> None:
    """Keeps the figures, a line for each kernel."""
    lines = [f" {json.dumps(name)}: {json.dumps(rows)}" for name, rows in sorted(kernels.items())]
    head = f'{{\n"toolkit": "{release}",\n"kernels": {{\n'
    KEPT.write_text(head + ",\n".join(lines) + "\n}}\n")


def main() -> int:
    """Compiles, prints, and compares or keeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=ARCHITECTURES, metavar="sm_XY")
    parser.add_argument("--of", nargs="+", default=["*"], metavar="FOLDER")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("MAX_JOBS", 2)))
    wish = parser.parse_args()
    for each in wish.of:
        if not any((ROOT / "csrc").glob(f"{each}/*.cu")):
            parser.error(
                f"--of: expected folders of csrc/ with kernels (dense, rnn), got {each}; "
                "name GPUs before --of"
            )
    sources = sorted(path for each in wish.of for path in (ROOT / "csrc").glob(f"{each}/*.cu"))
    pairs = [(source, each) for each in wish.architectures for source in sources]
    found: dict[str, dict[str, Row]] = {}
    with ThreadPoolExecutor(wish.jobs) as pool:
        for (_, each), rows in zip(
            pairs, pool.map(lambda p: compile_source(*p), pairs), strict=True
        ):
            for kernel, row in rows.items():
                found.setdefault(kernel, {})[each] = row
    print(table(found))
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"toolkit": toolkit(), "kernels": {}}
    if wish.keep:
        if wish.of != ["*"] or tuple(wish.architectures) != ARCHITECTURES:
            for kernel, rows in kept["kernels"].items():
                found[kernel] = {**rows, **found.get(kernel, {})}
        write(toolkit(), found)
        return 0
    if kept["toolkit"] != toolkit():
        print(f"not compared: kept for CUDA {kept['toolkit']}, this is {toolkit()}")
        return 0
    worse = regressions(kept["kernels"], found)
    print(*worse, sep="\n")
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
