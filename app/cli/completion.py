"""``turnkeeper completion``: the shell's completion, of names of workspaces and schedules too."""

import click
from click.shell_completion import get_completion_class

SHELLS = click.Choice(["bash", "zsh", "fish"])
VARIABLE = "_TURNKEEPER_COMPLETE"
PROGRAM = "turnkeeper"


@click.command()
@click.argument("shell", type=SHELLS)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion of a shell.

    \b
    bash: eval "$(turnkeeper completion bash)"          in ~/.bashrc
    zsh:  eval "$(turnkeeper completion zsh)"           in ~/.zshrc
    fish: turnkeeper completion fish | source           in ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - the choices are click's own
    click.echo(found(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
