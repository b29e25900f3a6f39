"""What every API command shares: ``--url``, ``--token``, ``-o``, and how its answer is shown."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from app.cli.client import Api
from app.cli.faults import Fault
from app.cli.plain_text import cell
from app.cli.yaml_text import to_yaml

DEFAULT_URL = "http://127.0.0.1:8080"
FORMATS = click.Choice(["table", "json", "yaml"])


@dataclass(frozen=True)
class Cli:
    """The choices of one invocation."""

    api: Api = Api(DEFAULT_URL)
    output: str = "table"


def narrowed(cli: Cli, url: str | None, token: str | None, output: str | None) -> Cli:
    """The same choices with the given ones replaced."""
    api = replace(cli.api, url=url or cli.api.url, token=token or cli.api.token)
    return Cli(api, output or cli.output)


def connected(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the connection options (also after its name) and the ``Cli`` they make."""

    @click.option("-o", "--output", type=FORMATS, help="Form of the answer.")
    @click.option("--url", help="Address of the API.  [env: TURNKEEPER_URL]")
    @click.option("--token", help="Bearer token.  [env: TURNKEEPER_TOKEN]")
    @click.pass_context
    @functools.wraps(function)
    def command(
        ctx: click.Context,
        /,
        output: str | None,
        url: str | None,
        token: str | None,
        **fields: Any,
    ) -> None:
        cli = narrowed(ctx.find_object(Cli) or Cli(), url, token, output)
        try:
            function(cli, **fields)
        except Fault as fault:
            fault.is_json = cli.output == "json"
            raise

    return command


def show_rows(cli: Cli, rows: Sequence[dict[str, Any]], columns: str, empty: str) -> None:
    """A list: chosen columns as a table, or every field as JSON or YAML."""
    if is_data(cli, list(rows)):
        return
    if not rows:
        click.echo(empty, err=True)
        return
    names = columns.split()
    heads = [name.removesuffix("_s").replace("_", " ") for name in names]
    _print_table(heads, [[cell(name, row.get(name)) for name in names] for row in rows])


def show_row(cli: Cli, row: Any) -> None:
    """One thing with all its fields; a field that has fields of its own takes several lines."""
    if is_data(cli, row):
        return
    fields = row if isinstance(row, dict) else {"answer": row}
    _print_table(
        [], [[name.replace("_", " "), cell(key, value)] for name, key, value in flat(fields)]
    )


def flat(fields: dict[str, Any], before: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each field as its whole name, its own name and its value; deeper ones after their owner's."""
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", key, value


def show_done(cli: Cli, answer: Any, sentence: str) -> None:
    """The answer to a change: a sentence for people, the answer itself for programs."""
    if not is_data(cli, answer if answer is not None else {"ok": True}):
        click.echo(sentence)


def is_data(cli: Cli, value: Any) -> bool:
    """Show a value as JSON or YAML; False where a table is wanted."""
    if cli.output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif cli.output == "yaml":
        click.echo(to_yaml(value), nl=False)
    return cli.output != "table"


def _print_table(heads: list[str], rows: list[list[str]]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Off a terminal nothing may be wrapped or cut: the reader is a program or a file.
    console = Console(width=None if sys.stdout.isatty() else 100_000, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=bool(heads), padding=(0, 2, 0, 0))
    for head in heads or ["", ""]:
        table.add_column(Text(head), overflow="fold", style=None if heads else "")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
