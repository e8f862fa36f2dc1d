"""Paths that a user gives, looked at before anything is written."""

import os
from pathlib import Path

from pyneural.training.checks import check
from pyneural.training.state.file import check_writable


def check_file(path: str | os.PathLike[str], argument: str) -> Path:
    """The path of a file that can be written; a missing folder is made.

    OSError where the path is that of a folder, or where its folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_file(folder, "save: path")
    Traceback (most recent call last):
    IsADirectoryError: save: path: expected a file, got the folder '...'; write ...
    """
    path = Path(path)
    remedy = f"write {str(path / 'model.safetensors')!r}"
    got = f"the folder {str(path)!r}"
    check(not path.is_dir(), argument, "a file", got, remedy, IsADirectoryError)
    check_writable(path.parent, argument)
    return path
