"""Names that the shell completes: those of workspaces and of their schedules."""

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from app.cli.client import workspace_path
from app.cli.faults import Fault
from app.cli.profiles import api_of

# A person waits with a finger on the key.
TIMEOUT_S = 2.0


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
        rows = api_of(ctx.find_root(), ctx, TIMEOUT_S).call("GET", path)[listed]
    except (Fault, KeyError, TypeError):
        return []
    names = [str(row[field]) for field in fields for row in rows]
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(begun)]


workspace_argument = click.argument("workspace", shell_complete=workspaces)
optional_workspace = click.argument("workspace", required=False, shell_complete=workspaces)
schedule_argument = click.argument("schedule", shell_complete=schedules)
