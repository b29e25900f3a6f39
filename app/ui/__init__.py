"""The screens: server-rendered pages that listen to the event stream."""

from app.ui.views import blueprint

__all__ = ["blueprint"]
