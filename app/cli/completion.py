"""``turnkeeper completion``: the shell's completion, of names of workspaces and schedules too."""

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from app.cli.client import Api, workspace_path
from app.cli.faults import Fault

SHELLS = click.Choice(["bash", "zsh", "fish"])
VARIABLE = "_TURNKEEPER_COMPLETE"
PROGRAM = "turnkeeper"
# A person waits with a finger on the key.
TIMEOUT_S = 2.0


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


def workspaces(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The ids of the workspaces that the token reaches."""
    return _items(ctx, begun, "/workspaces", "workspaces", ("id",))


def schedules(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names, and ids, of the schedules of the workspace that was given before."""
    workspace = ctx.params.get("workspace")
    if not workspace:
        return []
    path = workspace_path(str(workspace), "schedules")
    return _items(ctx, begun, path, "schedules", ("name", "id"))


def _items(
    ctx: click.Context, begun: str, path: str, listed: str, fields: Sequence[str]
) -> list[CompletionItem]:
    """What begins so; nothing where the platform does not answer: a completion never complains."""
    try:
        rows = _api(ctx).call("GET", path)[listed]
    except (Fault, KeyError, TypeError):
        return []
    names = [str(row[field]) for field in fields for row in rows]
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(begun)]


def _api(ctx: click.Context) -> Api:
    """As the command line says it; groups are not run while the shell completes."""
    given: dict[str, Any] = {}
    for found in (ctx.find_root(), ctx):
        given |= {name: found.params[name] for name in ("url", "token") if found.params.get(name)}
    return Api(str(given.get("url", "")).rstrip("/"), str(given.get("token", "")), TIMEOUT_S)


def completed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """An argument of that name, with its completion."""
    kinds = {"workspace": workspaces, "schedule": schedules}
    return click.argument(name, shell_complete=kinds[name])(function)
