"""A control group per session: found where there is one, used, and never missed where not."""

import os
from pathlib import Path

import psutil
import pytest

from runtime import cgroup
from runtime.cgroup import Group, own_directory

from .conftest import Start
from .fake_platform import FakePlatform, wait_until

V1 = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
V2 = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
HYBRID = V1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"


@pytest.mark.parametrize(
    ("cgroups", "mounts", "found"),
    [
        ("0::/user.slice/a.scope\n", V2, "/sys/fs/cgroup/user.slice/a.scope"),
        ("9:name=systemd:/x\n4:memory:/y\n0::/\n", HYBRID, "/sys/fs/cgroup/unified"),
        ("4:memory:/y\n1:cpu:/\n", HYBRID, None),
        ("0::/a\n", V1, None),
        ("0::/../../b\n", V2, None),
        ("", "", None),
    ],
)
def test_where_a_process_finds_its_own_group(cgroups: str, mounts: str, found: str | None) -> None:
    assert own_directory(cgroups, mounts) == (None if found is None else Path(found))


def test_without_a_group_every_call_does_nothing(tmp_path: Path) -> None:
    a_file = tmp_path / "file"
    a_file.touch()
    too_old = Group.make(tmp_path, "ses_1")  # a directory, but nothing in it to kill by
    for group in (Group(None), Group.make(None, "x"), Group.make(a_file, "x"), too_old):
        group.add(1)
        group.kill()
        group.remove()
        assert (group.directory, group.pids()) == (None, [])
    assert list(tmp_path.iterdir()) == [a_file]


def test_a_group_names_all_below_it_and_kills_by_one_word(tmp_path: Path) -> None:
    directory = tmp_path / "turnkeeper-..%2Fses"
    (directory / "inner").mkdir(parents=True)
    (directory / "cgroup.kill").touch()
    (directory / "inner" / "cgroup.procs").write_text("7\n8\n")
    group = Group.make(tmp_path, "../ses")
    assert group.directory == directory
    group.add(5)
    assert group.pids() == [5, 7, 8]
    group.kill()
    assert (directory / "cgroup.kill").read_text() == "1"


def can_make() -> bool:
    group = Group.make(cgroup.find_own(), f"probe-{os.getpid()}")
    is_there = group.directory is not None
    group.remove()
    return is_there


@pytest.mark.skipif(not can_make(), reason="no cgroup v2 of our own here")
def test_what_hides_from_every_search_is_ended_by_its_group(
    platform: FakePlatform, start: Start, tmp_path: Path
) -> None:
    """Another session, no marker, and no parent of ours; and a second session works beside it."""
    is_in = "until grep -q turnkeeper- /proc/self/cgroup; do sleep 0.02; done"
    hides = f"env -i setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 30' &"
    is_out = f"while [ ! -s {tmp_path}/pid ]; do sleep 0.02; done"
    script = f"[ {{prompt}} = long ] && exec sleep 30; {is_in}; {hides} {is_out}; echo done"
    start("sh", "-c", script, max_concurrent=2)
    other, session_id = platform.offer("long"), platform.offer("short")
    wait_until(lambda: platform.of("start", other))
    finish = platform.finish_of(session_id)
    hidden = int((tmp_path / "pid").read_text())
    assert finish["outcome"] == "completed"
    (hit,) = finish["limits"]
    assert (hit["mechanism"], hit["left"]) == ("leftover_processes", [])
    assert hidden in [one["pid"] for one in hit["signaled"]]
    assert not psutil.pid_exists(hidden) or psutil.Process(hidden).status() == "zombie"
    parent = cgroup.find_own()
    assert parent is not None
    assert [(parent / f"turnkeeper-{one}").exists() for one in (other, session_id)] == [True, False]
