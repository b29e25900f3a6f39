"""The ``turnkeeper`` command: a client of the HTTP API that also starts processes by name."""
