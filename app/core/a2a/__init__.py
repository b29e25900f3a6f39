"""Turns in A2A's forms, for routes and workers alike: pure, and without the protocol's library.

``shapes`` builds what is shown in the form of 1.0, ``legacy`` makes 0.3 of it.
"""
