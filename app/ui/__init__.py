"""The screens: server-rendered pages that listen to the event stream."""

from app.ui import about, fleet, workspace  # noqa: F401 - their routes
from app.ui.pages import blueprint

__all__ = ["blueprint"]
