"""A2A in: 1.0 and 0.3 on one address, as JSON-RPC and (1.0) as HTTP+JSON, over durable turns.

A2A's word for a turn is task; the word stays here. Read ``rpc`` first: it names the
methods. ``sending`` accepts and waits, ``streams`` and ``telling`` stream, ``wire`` reads
what 1.0 sends, ``faults`` is the table of errors; how a task is shown is in ``app.core.a2a``.
"""
