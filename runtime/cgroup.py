"""A control group for each session's processes, where the machine lets us make one (cgroup v2).

What is in it is found whatever it did to its parent, group or environment, and the last signal
reaches all of it at once, also what forks meanwhile. Where there is none, every call does nothing
and the ladder searches alone. https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from pathlib import Path
from urllib.parse import quote

import structlog

log = structlog.get_logger(__name__)

MEMBERS, KILL = "cgroup.procs", "cgroup.kill"


class Group:
    """The control group in ``directory``; None: there is none. No method raises OSError."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    @classmethod
    def make(cls, parent: Path | None, mark: str) -> "Group":
        """A new one below ``parent``; an empty one of the same name is taken over."""
        if parent is None:
            return cls(None)
        directory = parent / f"turnkeeper-{quote(mark, safe='')}"
        try:
            directory.mkdir(exist_ok=True)
        except OSError as error:
            log.debug("no_cgroup", error=str(error))
            return cls(None)
        group = cls(directory)
        if not (directory / KILL).exists():
            group.remove()  # before Linux 5.14
        return group

    def add(self, pid: int) -> None:
        """Move a process into it; its later children are born there. Not allowed: no group."""
        if not self._write(MEMBERS, str(pid)):
            self.remove()

    def pids(self) -> list[int]:
        """Who is in it, or in groups that they have made below it."""
        if self.directory is None:
            return []
        found: list[int] = []
        for path in (self.directory, *self._below()):
            try:
                found += [int(text) for text in (path / MEMBERS).read_text().split()]
            except (OSError, ValueError):
                continue
        return found

    def kill(self) -> None:
        """SIGKILL to all that is in it and below."""
        self._write(KILL, "1")

    def remove(self) -> None:
        """Remove it. One that is not empty stays, with what would not die."""
        if self.directory is None:
            return
        for path in (*reversed(self._below()), self.directory):
            try:
                path.rmdir()
            except OSError as error:
                log.debug("cgroup_left", directory=str(path), error=str(error))
        self.directory = None

    def _below(self) -> list[Path]:
        """Groups inside it, parents first."""
        if self.directory is None:
            return []
        try:
            return sorted(path for path in self.directory.rglob("*") if path.is_dir())
        except OSError:
            return []

    def _write(self, name: str, text: str) -> bool:
        if self.directory is None:
            return False
        try:
            (self.directory / name).write_text(text)
        except OSError as error:
            log.debug("cgroup_failed", file=name, error=str(error))
            return False
        return True


def own_directory(cgroup: str, mounts: str) -> Path | None:
    """Where this process's control group lies, by ``/proc/self/cgroup`` and ``/proc/self/mounts``.

    None: only version 1 is mounted, or the group lies outside what is mounted here.
    """
    names = [line[3:] for line in cgroup.splitlines() if line.startswith("0::/")]
    rows = [line.split() for line in mounts.splitlines()]
    roots = [row[1] for row in rows if len(row) > 2 and row[2] == "cgroup2"]
    if not names or not roots or ".." in Path(names[0]).parts:
        return None
    return Path(roots[0]) / names[0].lstrip("/")


def find_own() -> Path | None:
    """``own_directory`` of this process; None where there is no /proc."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        return own_directory(Path("/proc/self/cgroup").read_text(encoding="utf-8"), mounts)
    except OSError:
        return None
