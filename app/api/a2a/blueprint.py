"""The blueprint that the routes of A2A share."""

from flask import Blueprint

blueprint = Blueprint("a2a", __name__)
