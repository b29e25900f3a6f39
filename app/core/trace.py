"""The trace a caller's request belongs to, so that an agent's own spans join it. Pure.

Source: W3C Trace Context, Level 2, `traceparent`.
"""

import re

FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
ZEROS = frozenset({"0" * 32, "0" * 16})
KNOWN_FLAGS = 0b11  # sampled, and random trace id


def parent(header: str | None) -> str | None:
    """The header as it may be passed on; None where it must be ignored, as the rules have it.

    A version that we do not know is read as far as we know it and passed on as version 00.
    """
    found = FORM.fullmatch((header or "").strip(" \t"))
    if found is None or found["version"] == "ff" or {found["trace"], found["parent"]} & ZEROS:
        return None
    if found["version"] == "00":
        return None if found["more"] else found[0]
    flags = int(found["flags"], 16) & KNOWN_FLAGS
    return f"00-{found['trace']}-{found['parent']}-{flags:02x}"
