"""How the runtime starts a module of its own as another process."""

import sys
from collections.abc import Mapping
from pathlib import Path


def module_command(module: str) -> list[str]:
    """argv for ``python -m module``; ``-P`` keeps the working directory off the import path."""
    return [sys.executable, "-P", "-m", module]


def module_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with this package importable, wherever the parent found it."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{root}:{inherited}" if inherited else root}
