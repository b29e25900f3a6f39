"""Reading and completing the command lines of other programs."""

from collections.abc import Sequence

from runtime.agents.base import PROMPT_ARGUMENT_MAX_BYTES

PLACE = "{prompt}"


def has(argv: Sequence[str], *names: str) -> bool:
    """Is one of the options there, as ``--name`` or ``--name=value``?"""
    return any(part == name or part.startswith(name + "=") for part in argv for name in names)


def value_of(argv: Sequence[str], name: str) -> str | None:
    """The value of an option; None when it is not there."""
    for at, part in enumerate(argv):
        if part == name and at + 1 < len(argv):
            return argv[at + 1]
        if part.startswith(name + "="):
            return part[len(name) + 1 :]
    return None


def without_place(argv: Sequence[str]) -> tuple[list[str], str]:
    """The command without the argument that is to be the prompt, and that argument's template.

    The last argument with ``{prompt}`` counts, and goes together with a ``--`` before it;
    ``{prompt}`` alone where there is none.
    """
    at = next((i for i in reversed(range(len(argv))) if PLACE in argv[i]), None)
    if at is None:
        return list(argv), PLACE
    end = at - 1 if at and argv[at - 1] == "--" else at
    return [*argv[:end], *argv[at + 1 :]], argv[at]


def fits(prompt: str) -> bool:
    """May it be an argument: short enough, no NUL, and nothing that looks like an option?"""
    is_short = len(prompt.encode("utf-8", "replace")) <= PROMPT_ARGUMENT_MAX_BYTES
    return is_short and "\0" not in prompt and prompt[:1] not in ("", "-")
