"""A web process may open as many files as it may hold connections."""

import resource
import subprocess
import sys

import pytest

READ = "import resource, app.gunicorn_config; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


def started(soft: int, hard: int) -> tuple[int, str]:
    """The limit that a web process has then, and what it said."""
    limits = f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec {sys.executable} -c '{READ}'"
    ran = subprocess.run(
        ["bash", "-c", limits], capture_output=True, text=True, timeout=60, check=True
    )
    return int(ran.stdout), ran.stderr


def test_a_low_soft_limit_is_raised_to_the_connections() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 9_000:
        pytest.skip("the hard limit of open files is below 9,000 here")
    found, said = started(256, 9_000)
    assert (found, said) == (5_000 + 2_000 + 1_000 + 512, "")


def test_a_hard_limit_below_is_used_and_told() -> None:
    found, said = started(256, 1_024)
    assert found == 1_024
    assert "open files: at most 1024 where 8512 are wanted" in said
    assert "TURNKEEPER_WAITERS_MAX and TURNKEEPER_STREAMS_MAX" in said
