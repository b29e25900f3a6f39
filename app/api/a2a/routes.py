"""All routes of A2A: importing this module defines them on ``blueprint``."""

from app.api.a2a import cards, http, rpc, short_form
from app.api.a2a.blueprint import blueprint

__all__ = ["blueprint", "cards", "http", "rpc", "short_form"]
