"""What a bench prints and keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right.

    >>> print(table(["", "ms"], [["ours", "1.20"], ["eager", "12.50"]]))
              ms
    ours    1.20
    eager  12.50
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def mebibytes(count: int | None) -> str:
    """Bytes as MiB with a digit that matters, "n/a" for None.

    >>> mebibytes(5 << 20)
    '5.0'
    """
    if count is None:
        return "n/a"
    value = count / 2**20
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def keep(path: Path, bench: str, key: str, entry: dict[str, Any]) -> None:
    """Put the entry at [bench][key] of the JSON file, beside what it has already."""
    data = json.loads(path.read_text()) if path.exists() else {}
    data.setdefault(bench, {})[key] = entry
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(data), indent=1)
    # What holds no other lists and dictionaries, as the figures of one row, is a line.
    text = re.sub(r"\{[^{}\[\]]*\}", lambda flat: re.sub(r"\n *", " ", flat[0]), text)
    path.write_text(text + "\n")


def _rounded(value: Any) -> Any:
    """Floats to the digits that a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value
