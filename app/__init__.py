"""Turnkeeper: a durable dispatch plane for long-running AI-agent sessions."""
