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
from app.cli.tables import Column, print_table
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


def show_rows(
    cli: Cli, rows: Sequence[dict[str, Any]], columns: str, empty: str, spare: str = ""
) -> None:
    """A list: chosen columns as a table, or every field as JSON or YAML. Where the terminal is too
    narrow, those of ``spare`` are left out in its order."""
    if is_data(cli, list(rows)):
        return
    if not rows:
        click.echo(empty, err=True)
        return
    found = [
        Column(
            name,
            name.removesuffix("_s").replace("_", " "),
            [cell(name, row.get(name)) for row in rows],
        )
        for name in columns.split()
    ]
    if told := print_table(found, spare.split()):
        click.echo(told, err=True)


def show_row(cli: Cli, row: Any) -> None:
    """One thing with all its fields; a field that has fields of its own takes several lines."""
    if is_data(cli, row):
        return
    lines = list(flat(row if isinstance(row, dict) else {"answer": row}))
    names = Column("name", "", [name.replace("_", " ") for name, _, _ in lines], is_whole=True)
    values = Column("value", "", [cell(key, value) for _, key, value in lines])
    print_table([names, values], has_heads=False)


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
