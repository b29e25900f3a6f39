"""Who may come without a token where ``open_loopback`` is set: a program on this machine itself.

A proxy beside us, and a page in a browser here, come from this machine too: neither is let in.
"""

from urllib.parse import urlsplit

from flask import Request

from app.core.settings import LOOPBACK
from app.core.tokens import EVERYWHERE, Token

TOKEN = Token("tok_loopback", "whoever is on this machine", "", ("read", "send"), (EVERYWHERE,), 0)
PROXIED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via")


def is_local(request: Request) -> bool:
    """Whether a program on this machine asks, and asked for this machine by name."""
    headers = request.headers
    if any(name in headers for name in PROXIED) or "Origin" in headers:
        return False
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return False
    asked_for = urlsplit(f"//{request.host}").hostname
    return request.remote_addr in LOOPBACK and asked_for in LOOPBACK
