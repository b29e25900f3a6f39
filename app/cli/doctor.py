"""``turnkeeper doctor``: what is well, what is not, what to do next."""

from typing import Any

import click

from app.cli.connection import Cli, connected, show_rows
from app.cli.faults import FAILED

COLUMNS = "name status detail next"


@click.command()
@connected
def doctor(cli: Cli) -> None:
    """Check Redis, the scheduler, the workers and the invariants (needs an admin token).

    Exits with 1 where a check failed; a warning alone is no failure.
    """
    answer: dict[str, Any] = cli.api.call("GET", "/admin/checkup")
    show_rows(cli, answer["checks"], COLUMNS, "no checks")
    if answer["status"] == "fail":
        raise click.exceptions.Exit(FAILED)
