"""Puts packages of this environment into another one, as links: at once and without a network.

    .venv/bin/python build_tools/link_packages.py build/wheel/env torch numpy

Links what these packages need, too, and nothing else, so that a package that is missing among the
requirements is missed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def needed(names: list[str]) -> dict[str, metadata.Distribution]:
    """The distributions of these names, and those that they need on this machine."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another platform, as its marker says
            if name in names:
                raise SystemExit(f"{name} is not installed in {sys.prefix}") from None
            continue
        requirements = found[name].requires or []
        waiting += [re.match(r"[\w.-]+", one)[0] for one in requirements if "extra ==" not in one]
    return found


def main(environment: str, *names: str) -> int:
    """Links the packages."""
    python = Path(environment, "bin", "python")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    target = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    for distribution in needed(list(names)).values():
        root = Path(str(distribution.locate_file("")))
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            link = target / top
            if not link.exists():
                link.symlink_to(root / top)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
