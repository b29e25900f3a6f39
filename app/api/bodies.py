"""Request bodies: strict JSON, so that whatever is stored can be read by everyone after us.

Python's own reader takes NaN, lone surrogates, UTF-16 and any depth; Redis' Lua, browsers and
agents do not. Here each of those is refused, and so is a number beyond 64 bits.
"""

import math
from typing import Any

from flask import Request
from pydantic_core import from_json
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.errors import NotJson

INTEGER_LIMIT = 2**63


def raw(request: Request) -> bytes:
    """The bytes of a request's body, all of them.

    Of one that comes in chunks, no more than the limit is read and nothing said: what was cut
    off could leave another body that is good.

    Raises:
        RequestEntityTooLarge.
    """
    content, limit = request.get_data(), request.max_content_length
    if request.content_length is None and limit is not None and len(content) >= limit:
        raise RequestEntityTooLarge
    return content


def read(raw: bytes) -> Any:
    """The value of a body; of two members of one name the last counts.

    Raises:
        NotJson: also for what JSON allows and we do not: nesting beyond 200, a huge number.
    """
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(f"body: not JSON ({error})") from error
    if not _is_representable(value):
        raise NotJson("body: a number is beyond 64 bits")
    return value


def _is_representable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_representable, value.values()))
    if isinstance(value, list):
        return all(map(_is_representable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -INTEGER_LIMIT <= value < INTEGER_LIMIT
