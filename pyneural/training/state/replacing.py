"""Files that take the place of others in one step, whatever dies and whoever else writes."""

import contextlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from pyneural.training.paths import check_name

# A process number means something on its own machine alone, and folders are shared by machines.
_HOST = re.sub(r"[^\w-]", "-", socket.gethostname())[:32]


def followed(path: str | os.PathLike[str]) -> Path:
    """The file that symbolic links lead to; the path itself where it is none."""
    path = Path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def replaced(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary name for a file that takes the place of ``path`` once it is whole.

    Whoever opens ``path`` finds the file before or the new one, at any instant. Threads, processes
    and machines may write at the same time: the last one stays. Where ``path`` is a symbolic link,
    it stays one, and the file that it leads to is replaced. Temporary files of this user's
    processes that died on this machine are removed.

    Args:
        path: of the file; a missing directory is made.
        previous: a name for the file before, or None to give it up.

    OSError, before anything is written, if the path exists and is not a file, such as a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "notes"
    ...     with replaced(path) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     path.read_text()
    'whole'
    """
    target = followed(path)
    for name in (target, previous):
        if name is not None:
            check_name(name, "path")
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    with contextlib.ExitStack() as stack:
        temporary = _temporary_name(target)
        stack.callback(temporary.unlink, missing_ok=True)
        try:
            os.close(_create(temporary))
        except OSError as error:  # the user knows nothing of the temporary name
            raise OSError(error.errno, error.strerror, str(path)) from error
        yield temporary
        before = None
        if previous is not None:
            before = _temporary_name(target)
            stack.callback(before.unlink, missing_ok=True)
            before = before if _keep(target, before) else None
        os.replace(temporary, target)
        # Only now: had the writer died between the two, both names would be those of one file.
        if before is not None and previous is not None:
            os.replace(before, previous)


def _temporary_name(target: Path) -> Path:
    """A name that no other writer has, next to the file, as it must be on its file system."""
    return target.with_name(f"{_prefix(target)}{os.getpid()}.{secrets.token_hex(8)}.tmp")


def _prefix(target: Path) -> str:
    shortened = os.fsdecode(os.fsencode(target.name)[:100])  # of 255 bytes at most
    return f".{shortened}.{_HOST}."


def _create(name: Path) -> int:
    """A descriptor of a new file; nothing that has the name, no link either, is opened."""
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)


def _keep(target: Path, name: Path) -> bool:
    """Gives the file a second name, with which it outlives the first; False if there is none."""
    try:
        os.link(target, name)
    except FileNotFoundError:
        return False
    except OSError:  # a file system without hard links
        return _copy(target, name)
    return True


def _copy(target: Path, name: Path) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(open(target, "rb"))
        except FileNotFoundError:
            return False
        copy = stack.enter_context(os.fdopen(_create(name), "wb"))
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
    return True


def _sweep(target: Path) -> None:
    """Removes what writers of this file have left that died."""
    if os.name != "posix":  # where signal 0 is none
        return
    pattern = re.compile(re.escape(_prefix(target)) + r"(\d+)\.[0-9a-f]{16}\.tmp")
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found is None or entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            try:
                os.kill(int(found[1]), 0)
            except ProcessLookupError:
                os.unlink(entry.path)
            except (OSError, OverflowError):  # another user's, or no number of a process
                continue
