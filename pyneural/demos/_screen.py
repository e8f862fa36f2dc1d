"""Shows the picture of a demo in the system's own program for pictures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_BEGINS = 3.0  # seconds in which a program says that it cannot show a picture


def show_picture(
    picture: Path, environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> str | None:
    """Opens a picture; None, or why that cannot be.

    Without a screen, as over ssh or in a batch job, nothing is started.

    >>> show_picture(Path("burgers.png"), environ={}, platform="linux")
    'there is no screen'
    """
    remote = "SSH_CONNECTION" in environ
    if platform == "darwin":
        if remote:
            return "there is no screen"
        command = "open"
    elif environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        command = "xdg-open"
    else:
        return "there is no screen"
    program = shutil.which(command, path=environ.get("PATH"))
    if program is None:
        return f"there is no {command} (Debian: apt-get install xdg-utils)"
    quiet = subprocess.DEVNULL
    started = subprocess.Popen(
        [program, str(picture.absolute())],
        env=dict(environ),
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,  # Ctrl-C afterwards does not close it
    )
    try:
        status = started.wait(_BEGINS)
    except subprocess.TimeoutExpired:
        return None  # it is open
    return None if status == 0 else f"{command} cannot open it"
