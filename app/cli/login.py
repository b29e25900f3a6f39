"""``turnkeeper login``: a link that opens the pages once."""

import click

from app.cli.connection import Cli, connected, show_done


@click.command()
@connected
def login(cli: Cli) -> None:
    """Print a link that logs a browser in once, with the rights of this token.

    Good for 15 minutes.
    """
    answer = cli.api.call("POST", "/admin/login-links", {})
    link = str(answer["absolute_url"])
    show_done(cli, answer, cli.api.url + link if link.startswith("/") else link)
