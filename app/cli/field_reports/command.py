"""``turnkeeper demo``: the field reports that Turnkeeper exists to end, played in a minute."""

import click

from app.cli.faults import FAILED

FASTEST, SLOWEST = 3600, 60


@click.group("demo")
def demo() -> None:
    """Play a field report on a platform of its own; nothing of it stays."""


@demo.command()
@click.option(
    "--speed",
    type=click.IntRange(SLOWEST, FASTEST),
    default=900,
    show_default=True,
    help="Seconds of the six hours in one second.",
)
def starve(speed: int) -> None:
    """One session for six hours, twelve fires behind it: without a ceiling, then with one.

    Exits with 1 unless every fire is accounted for.
    """
    from app.cli.field_reports.narrator import Narrator
    from app.cli.field_reports.starve import play

    narrator = Narrator()
    accounts = play(narrator, speed)
    narrator.head("; ".join(account.sentence for account in accounts))
    if any(account.faults for account in accounts):
        raise click.exceptions.Exit(FAILED)


@demo.command()
@click.option(
    "--step",
    "step_s",
    type=click.IntRange(6, 60),
    default=7,
    show_default=True,
    help="Seconds of the blocking step; each is a minute of the report.",
)
def hush(step_s: int) -> None:
    """A chat turn with one step longer than the silence that was allowed, beats beside and inside.

    Exits with 1 unless the answer arrives.
    """
    from app.cli.field_reports.hush import play
    from app.cli.field_reports.narrator import Narrator

    if play(Narrator(), step_s):
        raise click.exceptions.Exit(FAILED)
