"""``python -m runtime -w WORKSPACE -- CMD …``."""

import sys


def skip_terminal_libraries() -> None:
    """Let httpx and structlog do without rich, pygments and click, which they load where they
    find them: 7 MB that a supervisor never uses. For a process of our own only."""
    for name in ("click", "pygments", "rich"):
        sys.modules[name] = None  # type: ignore[assignment]


if __name__ == "__main__":
    skip_terminal_libraries()
    from runtime.supervisor import main

    sys.exit(main(sys.argv[1:]))
