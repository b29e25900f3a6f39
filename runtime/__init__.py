"""What runs beside the agent: beats, takes turns, runs a child per turn, reports over HTTP.

Imports nothing of ``app``, ``workers`` or ``scheduler``. Start with ``supervisor.main``.
"""
