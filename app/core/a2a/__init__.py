"""Turns as tasks of A2A, in the forms of 1.0 (``shapes``) and 0.3 (``legacy``): what the web tells
and what the workers push is the same."""
