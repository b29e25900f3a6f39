"""JSON values as block YAML 1.2. Text is always quoted, so no word turns into a boolean."""

import json
from typing import Any


def to_yaml(value: Any) -> str:
    """The whole document, with a final newline."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in _entry(f"{_key(key)}:", item)]
    if isinstance(value, list) and value:
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _entry(head: str, item: Any) -> list[str]:
    if isinstance(item, (dict, list)) and item:
        return [head, *("  " + line for line in _lines(item))]
    return [f"{head} {_scalar(item)}"]


def _item(item: Any) -> list[str]:
    first, *rest = _lines(item)
    return [f"- {first}", *("  " + line for line in rest)]


def _key(key: str) -> str:
    is_word = key.replace("_", "a").replace("-", "a").isalnum() and key[:1].isalpha()
    is_ambiguous = key.lower() in {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return key if is_word and key.isascii() and not is_ambiguous else _scalar(key)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
