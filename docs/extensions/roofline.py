"""The directives of the page "Why it is fast": figures and tables of ``bench/results``.

    ```{roofline}
    ```

draws, for the machine on which most kernels were measured, the operations a second of each call
over its operations a byte, below the roof that the machine sets. ``{shares}`` draws the share of
its limit that each op reaches, for each machine of which ``python -m bench peak`` kept it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
RESULTS, FIGURES = ROOT / "bench" / "results", ROOT / "build" / "docs" / "figures"
FLOAT = 4  # bytes of a float32
CACHED = 2**25  # bytes that may stay in the caches, whose bandwidth was not measured
Case = dict[str, Any]


class Point(NamedTuple):
    """A call: its operations, the bytes that it cannot do without, seconds of ours and of torch."""

    op: str
    call: str
    operations: float
    bytes: float
    seconds: float
    torch: float | None
    peak: float
    bandwidth: float

    @property
    def is_of_memory(self) -> bool:
        """Whether the bytes take longer than the operations."""
        return self.bytes / self.bandwidth > self.operations / self.peak

    @property
    def floor(self) -> float:
        """Seconds that no program could fall below on this machine."""
        return max(self.operations / self.peak, self.bytes / self.bandwidth)


# Bytes of arguments and results, each once; with gradients each has one of its size beside it.
def _dense(case: Case, operations: int) -> float:
    rows, inputs, outputs = case["batch"], case["inputs"], case["outputs"]
    weights = inputs * outputs * (1 - case["sparsity"])
    return FLOAT * (rows * inputs + weights + outputs + rows * outputs) * (1 + case["backward"])


def _attention(case: Case, operations: int) -> float:
    sequences = case["batch"] * case["heads"] * case["length"] * case["width"]
    return FLOAT * 4 * sequences * (1 + case["backward"])


def _rnn(case: Case, operations: int) -> float:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[case["layer"]] * case["hidden"]
    weights = gates * (case["inputs"] + case["hidden"])
    rows = operations / (2 * case["steps"] * weights * (3 if case["backward"] else 1))
    states = case["steps"] * rows * (case["inputs"] + case["hidden"])
    return FLOAT * (states + weights + 2 * gates) * (1 + case["backward"])


def _jet(case: Case, operations: int) -> float:
    width, depth = case["width"], case["depth"]
    parameters = 3 * width + (depth - 1) * (width + 1) * width + width + 1
    return FLOAT * (2 * case["points"] + 2 * parameters)


def _mse_loss(case: Case, operations: int) -> float:
    return FLOAT * case["elements"] * (3 if case["backward"] else 2)


# Of each op: what the figure calls it, the contestants, the bytes, and the name of a call.
OPS: dict[str, tuple[str, str, str, Callable[[Case, int], float], str]] = {
    "jet": ("Burgers residual, jet", "pyneural, one pass", "torch eager, nested autograd", _jet,
            "{depth} x {width}, {points:,} points"),
    "dense": ("dense layer", "pyneural, dense", "torch eager", _dense,
              "{batch:,} x {inputs} x {outputs}, {activation}"),
    "attention": ("attention", "pyneural", "torch sdpa", _attention,
                  "{batch} x {heads} x {length} x {width}"),
    "rnn": ("recurrent layer", "pyneural", "torch", _rnn,
            "{layer}, {steps} x {inputs} x {hidden}"),
    "mse_loss": ("squared error", "pyneural", "torch eager", _mse_loss, "{elements:,} elements"),
}  # fmt: skip


def results() -> dict[str, dict[str, Any]]:
    """The kept measurements by file."""
    files = sorted(RESULTS.glob("*.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}


def points(kept: dict[str, Any]) -> Iterator[Point]:
    """The calls of a machine, in float32."""
    for op, (title, ours, theirs, bytes_of, name) in OPS.items():
        entry = kept.get(op, {}).get("float32", {})
        for case in entry.get("cases", []):
            rows, sparse = case["rows"], bool(case.get("sparsity"))
            mine = rows.get("pyneural, masked_dense" if sparse else ours)
            if mine is None:
                continue
            operations = mine["operations"]
            call = name.format(**case)
            call += ", causal" * bool(case.get("is_causal"))
            call += ", sparse" * sparse
            call += ", with gradients" * bool(case.get("backward", op == "jet"))
            point = Point(
                title, call, operations, bytes_of(case, operations), mine["median"],
                rows.get(theirs, {}).get("median"), case["peak_flops"],
                entry["copy_bytes_per_second"],
            )  # fmt: skip
            if point.bytes > CACHED or not point.is_of_memory:
                yield point


def measured() -> tuple[dict[str, Any], list[Point]]:
    """The machine with the most kernels, and its calls."""
    found = [(kept, list(points(kept))) for kept in results().values()]
    kept, calls = max(found, key=lambda pair: (len({call.op for call in pair[1]}), len(pair[1])))
    return next(kept[op]["float32"]["machine"] for op in OPS if op in kept), calls


def draw_roofline(calls: list[Point]) -> Any:
    """Operations a second over operations a byte, ours filled and torch's hollow."""
    import numpy as np
    from matplotlib import pyplot

    peak = float(np.median([call.peak for call in calls]))
    bandwidth = float(np.median([call.bandwidth for call in calls]))
    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    lowest = min(call.operations / call.bytes for call in calls) / 2
    highest = max(call.operations / call.bytes for call in calls) * 2
    intensity = np.geomspace(lowest, highest, 200)
    axes.plot(intensity, np.minimum(peak, bandwidth * intensity) / 1e9, color="black", lw=1.5)
    axes.text(highest / 1.1, peak / 1e9 * 1.08, f"multiply-add peak, {peak / 1e9:.0f} GFLOP/s",
              ha="right", va="bottom")  # fmt: skip
    axes.text(lowest, peak / 4e9, f"memory,\n{bandwidth / 1e9:.0f} GB/s")
    for index, (title, group) in enumerate(_grouped(calls).items()):
        color = f"C{index}"
        x = [call.operations / call.bytes for call in group]
        ours = [call.operations / call.seconds / 1e9 for call in group]
        axes.plot(x, ours, "o", color=color, ms=6, label=title)
        for at, call, y in zip(x, group, ours, strict=True):
            if call.torch is not None:
                theirs = call.operations / call.torch / 1e9
                axes.plot([at, at], [theirs, y], color=color, lw=0.6, alpha=0.6)
                axes.plot(at, theirs, "o", color=color, mfc="white", ms=4)
    axes.plot([], [], "o", color="gray", mfc="white", ms=4, label="the same call by torch")
    axes.set(xscale="log", yscale="log", xlabel="operations a byte that must be moved",
             ylabel="GFLOP/s")  # fmt: skip
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _grouped(calls: list[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for call in calls:
        groups.setdefault(call.op, []).append(call)
    return groups


def draw_shares(cases: list[Case]) -> Any:
    """A line for each call: the share of its limit, forward and with gradients."""
    from matplotlib import pyplot

    rows: dict[tuple[str, str, str], dict[bool, float]] = {}
    for case in cases:
        key = case["op"], case["case"], case["limit"]
        rows.setdefault(key, {})[case["backward"]] = 100 * case["share_of_peak"]
    figure, axes = pyplot.subplots(figsize=(6.4, 0.22 * len(rows) + 1.1), layout="constrained")
    for at, ((_, _, limit), shares) in enumerate(rows.items()):
        color = "C0" if limit == "multiply-adds" else "C1"
        axes.plot(list(shares.values()), [at] * len(shares), color="lightgray", lw=2, zorder=0)
        for backward, share in shares.items():
            axes.plot(share, at, "o", color=color, mfc="white" if backward else color, ms=5)
    axes.set_yticks(range(len(rows)), [f"{op}  {case}" for op, case, _ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set(xlabel="share of the limit [%]")
    axes.set_xlim(0, 1.05 * max(100, *(max(shares.values()) for shares in rows.values())))
    for color, label in (("C0", "of the multiply-add peak"), ("C1", "of the memory bandwidth")):
        axes.plot([], [], "o", color=color, label=label)
    axes.plot([], [], "o", color="gray", mfc="white", label="with gradients")
    figure.legend(frameon=False, ncols=3, loc="outside upper center")
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def saved(figure: Any, name: str) -> Path:
    """Writes a figure as SVG and closes it."""
    from matplotlib import pyplot

    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.svg"
    with pyplot.rc_context({"svg.hashsalt": "pyneural"}):
        figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


class _Figures(SphinxDirective):
    """A directive that draws from the results."""

    def _figure(self, path: Path, alt: str) -> nodes.Node:
        source = Path(self.env.doc2path(self.env.docname)).parent
        uri = Path(os.path.relpath(path, source)).as_posix()
        return nodes.figure("", nodes.image(uri=uri, alt=alt))

    def _text(self, text: str) -> list[nodes.Node]:
        return self.parse_text_to_nodes(text)

    def _depend(self) -> None:
        for name in results():
            self.env.note_dependency(str(RESULTS / name))


class Roofline(_Figures):
    """The figure, and the table of floors."""

    def run(self) -> list[nodes.Node]:
        """Figure, machine and table."""
        self._depend()
        machine, calls = measured()
        alt = (
            f"Roofline of {len(calls)} calls on {machine['cpu']}: pyneural's lie near the roof, "
            "torch's below them."
        )
        lines = [
            "| kernel | call | floor [ms] | pyneural [ms] | times the floor | torch [ms] |",
            "|---|---|---|---|---|---|",
        ]
        for call in calls:
            torch = "" if call.torch is None else f"{1e3 * call.torch:.3g}"
            lines.append(
                f"| {call.op} | {call.call} | {1e3 * call.floor:.3g} | {1e3 * call.seconds:.3g} "
                f"| {call.seconds / call.floor:.1f} | {torch} |"
            )
        return [
            *self._text(described(machine)),
            self._figure(saved(draw_roofline(calls), "roofline"), alt),
            nodes.raw("", f"<details><summary>All {len(calls)} calls</summary>", format="html"),
            *self._text("\n".join(lines)),
            nodes.raw("", "</details>", format="html"),
        ]


class Shares(_Figures):
    """A figure for each machine with shares of peak."""

    def run(self) -> list[nodes.Node]:
        """Figures with their machines."""
        self._depend()
        found: list[nodes.Node] = []
        for name, kept in results().items():
            for dtype in ("float32", "float64"):
                entry = kept.get("peak", {}).get(dtype)
                if entry is None:
                    continue
                machine = entry["machine"]
                path = saved(draw_shares(entry["cases"]), f"{Path(name).stem}-{dtype}")
                alt = f"Shares of peak in {dtype} on {machine['cpu']}, by op and call."
                remark = f" {entry['remark'].capitalize()}." if entry.get("remark") else ""
                text = f"In {dtype}: {described(machine)}{remark}"
                found += [*self._text(text), self._figure(path, alt)]
        return found


def described(machine: dict[str, Any]) -> str:
    """A machine in a sentence."""
    versions = machine["versions"]
    isa = re.sub(r"avx(\d+)", r"AVX-\1", machine["instruction_set"]).replace("AVX-2", "AVX2")
    return (
        f"{machine['cpu']}, {machine['threads']} threads, {isa}, torch {versions['torch']}, "
        f"commit {machine['commit'].rstrip('+')}."
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directives."""
    app.add_directive("roofline", Roofline)
    app.add_directive("shares", Shares)
    return {"parallel_read_safe": True}
