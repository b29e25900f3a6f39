"""For ``gunicorn -c deploy/gunicorn.conf.py``: the settings live with the application."""

from app.gunicorn_config import *  # noqa: F403
