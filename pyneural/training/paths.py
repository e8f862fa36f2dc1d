"""Paths that a user gives, looked at before anything is written."""

import os
import tempfile
from pathlib import Path

from pyneural.training.checks import check


def check_name(path: Path, argument: str) -> None:
    """OSError if the path exists and is not a file, such as a folder."""
    if path.exists() and not path.is_file():
        folder = path.is_dir()
        got = f"the folder {str(path)!r}" if folder else f"something else, {str(path)!r}"
        remedy = f"write {str(path / 'model.safetensors')!r}" if folder else "choose another name"
        error = IsADirectoryError if folder else FileExistsError
        check(False, argument, "a file", got, remedy, error)


def check_file(path: str | os.PathLike[str], argument: str) -> Path:
    """The path of a file that can be written; a missing folder is made.

    OSError if the path exists and is not a file, or if its folder cannot be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_file(folder, "save: path")
    Traceback (most recent call last):
    IsADirectoryError: save: path: expected a file, got the folder '...'; write ...
    """
    path = Path(path)
    check_name(path, argument)
    check_writable(path.parent, argument)
    return path


def check_writable(directory: str | os.PathLike[str], argument: str = "directory") -> Path:
    """Makes a directory if there is none and tries to write in it; OSError where that fails.

    >>> with tempfile.TemporaryDirectory() as parent:
    ...     check_writable(Path(parent) / "new").is_dir()
    True
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        raise OSError(
            f"{argument}: expected a directory that can be written, got {str(directory)!r} "
            f"({error.strerror}); choose another one"
        ) from error
