"""All demos one after the other: which of them run, and in what time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from pyneural.demos._options import counted
from pyneural.training import check_writable

# Runs a demo with command-line arguments; the picture that it wrote, None if there is none.
RunDemo = Callable[[ModuleType, str, Sequence[str]], "Path | None"]


def run_all(
    names: Sequence[str],
    load: Callable[[str], ModuleType],
    run: RunDemo,
    out: str,
    *,
    quick: bool = False,
) -> int:
    """Runs demos, whether or not those before have failed; prints a line for each.

    What a demo prints goes into NAME.txt in the output folder, beside its picture. A demo fails if
    it raises an error, or if it writes no picture.

    Args:
        names: of the demos.
        load: gives the module of a name.
        run: runs a demo.
        out: output folder.
        quick: whether to give each demo the arguments in its ``QUICK``, which shorten it.

    Returns:
        how many have failed. Ctrl-C ends all of them, as KeyboardInterrupt.
    """
    folder, failed = check_writable(out, "--out"), []
    began = time.perf_counter()
    for name in names:
        start = time.perf_counter()
        print(f"{name:<22}", end="", flush=True)
        with open(folder / f"{name}.txt", "w", encoding="utf-8") as screen:
            error = _error(load, run, name, folder, quick, screen)
        seconds = time.perf_counter() - start
        print(f"{seconds:7.1f} s   {f'failed: {error}' if error else 'ok'}", flush=True)
        if error:
            failed.append(name)
    seconds = time.perf_counter() - began
    told = f"failed: {', '.join(failed)}" if failed else "all ok"
    print(f"\n{counted(len(names), 'demo')} in {seconds:.0f} s, {told}")
    return len(failed)


def _error(
    load: Callable[[str], ModuleType],
    run: RunDemo,
    name: str,
    folder: Path,
    quick: bool,
    screen: object,
) -> str:
    """Runs one demo; what went wrong, in a line, or nothing."""
    try:
        with contextlib.redirect_stdout(screen):  # type: ignore[type-var]
            demo = load(name)
            arguments = [*(getattr(demo, "QUICK", ()) if quick else ()), "--out", str(folder)]
            picture = run(demo, name, arguments)
    except SystemExit as error:  # of a parser that refuses the arguments
        return f"exit status {error.code}"
    except Exception as error:
        lines = str(error).splitlines() or ["no message"]
        return f"{type(error).__name__}: {lines[0][:200]}"
    finally:
        sys.stderr.flush()
    return "" if picture is not None and picture.exists() else "no picture"
