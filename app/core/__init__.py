"""The kernel: turns, sessions, capacity, schedules and events on Redis. No Flask here."""
