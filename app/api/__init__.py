"""The HTTP API: one blueprint per noun over the core."""
