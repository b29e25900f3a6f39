"""The only place of the command line that touches the process environment.

Options read their own variables through click. What remains is handing the whole environment on
to the processes we start, and the two variables that no option carries.
"""

import os
from pathlib import Path


def inherited() -> dict[str, str]:
    """A copy of this process's environment, to be handed to a child."""
    return dict(os.environ)


def is_colour_refused() -> bool:
    """``NO_COLOR`` set to anything but nothing (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def search_path() -> str:
    """``PATH`` as the shell gave it."""
    return os.environ.get("PATH", os.defpath)


def default_data_dir() -> Path:
    """``$XDG_DATA_HOME/turnkeeper``, else ``~/.local/share/turnkeeper``.

    Not the working directory: a second ``up`` from another directory must find the same turns.
    """
    given = os.environ.get("XDG_DATA_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "share"
    return base / "turnkeeper"


def config_dir() -> Path:
    """``$XDG_CONFIG_HOME/turnkeeper``, else ``~/.config/turnkeeper``."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".config"
    return base / "turnkeeper"
