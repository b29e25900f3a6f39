"""Which platform a command speaks to: options, a profile, the environment, the default.

A profile is a table of ``profiles.toml``: ``url``, and ``token`` or ``token_file``. What stands on
the command line wins, then a profile that stands there, then ``TURNKEEPER_URL`` and
``TURNKEEPER_TOKEN``, then ``TURNKEEPER_PROFILE``. A profile's address never gets another's token.
"""

import tomllib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from app.cli import environment
from app.cli.client import Api
from app.cli.faults import USAGE, Fault

GIVEN = ParameterSource.COMMANDLINE
FIELDS = frozenset({"url", "token", "token_file"})


def api_of(root: click.Context, command: click.Context | None = None, timeout_s: float = 30) -> Api:
    """The API that the root's options name; those after the command's own name win.

    Raises:
        Fault: for a profile that is not there or cannot be read.
    """
    url, token = str(root.params.get("url") or ""), str(root.params.get("token") or "")
    name = root.params.get("profile")
    if name:
        url, token = _chosen(root, profile(str(name)), url, token)
    if command is not None and command is not root:
        url = str(command.params.get("url") or url)
        token = str(command.params.get("token") or token)
    return Api(url.rstrip("/"), token, timeout_s)


def _chosen(root: click.Context, found: dict[str, str], url: str, token: str) -> tuple[str, str]:
    sources = {one: root.get_parameter_source(one) for one in ("url", "token", "profile")}
    is_named = sources["profile"] is GIVEN

    def stands(one: str) -> bool:
        """Whether what the option or the environment says is not the profile's to say."""
        return sources[one] is GIVEN or (
            not is_named and sources[one] is ParameterSource.ENVIRONMENT
        )

    has_own_url = not stands("url") and "url" in found
    token_of_profile = found.get("token", "") if has_own_url else found.get("token", token)
    # Another address than the profile's does not get the profile's token either.
    if stands("url") and url.rstrip("/") != found.get("url", url).rstrip("/"):
        token_of_profile = token
    return (
        found["url"] if has_own_url else url,
        token if stands("token") else token_of_profile,
    )


def profile(name: str) -> dict[str, str]:
    """A profile's ``url`` and ``token``, those that it has.

    Raises:
        Fault: naming the file.
    """
    path = environment.config_dir() / "profiles.toml"
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unusable(path, name, str(error)) from error
    except ValueError as error:
        raise _unusable(path, name, f"not TOML: {error}") from error
    fields = found.get(name)
    if not isinstance(fields, dict):
        raise _unusable(path, name, f"it has: {', '.join(sorted(found)) or 'none'}")
    if odd := [one for one in fields if one not in FIELDS or not isinstance(fields[one], str)]:
        raise _unusable(
            path, name, f"only text, and only {', '.join(sorted(FIELDS))}: not {odd[0]}"
        )
    if "token_file" in fields:
        file = path.parent / Path(fields["token_file"]).expanduser()
        try:
            fields["token"] = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise _unusable(path, name, str(error)) from error
    return {one: fields[one] for one in ("url", "token") if one in fields}


def _unusable(path: Path, name: str, why: str) -> Fault:
    next_step = f'write into {path}:  [{name}]  url = "http://127.0.0.1:8080"  token_file = "FILE"'
    return Fault(f"no profile {name} can be read from {path}", why, next_step, USAGE)
