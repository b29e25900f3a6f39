"""Bounds on what callers send; each refusal names mechanism, limit, setting and measured value."""

from app.api.operation import platform
from app.core.errors import InvalidInput
from app.core.settings import env_name


def check_prompt(field: str, text: str) -> None:
    """A text that an agent is told.

    Raises:
        InvalidInput: it has more bytes than ``prompt_max_bytes``.
    """
    limit, measured = platform().settings.prompt_max_bytes, len(text.encode())
    if measured > limit:
        setting = env_name("prompt_max_bytes")
        raise InvalidInput(
            field,
            f"at most {limit} bytes of text ({setting}); this has {measured}",
            mechanism="prompt_max",
            limit_bytes=limit,
            measured_bytes=measured,
            setting=setting,
        )
