"""Names of settings that begin as ours do and are read by others."""

PREFIX = "TURNKEEPER_"

# Read by the agent's side (runtime/settings.py) or by the command line, so not unknown here.
FOREIGN = frozenset(
    PREFIX + name
    for name in (
        *("URL", "TOKEN", "PROFILE", "WORKSPACE", "MAX_CONCURRENT"),
        *("TURN_ID", "SESSION_ID", "TURN_FILE", "CONTROL_FILE", "CHECKPOINT_FILE", "PROMPT_FILE"),
        *("DEADLINE", "MARK", "SESSION_MODE", "HEARTBEAT_MIN_S", "HEARTBEAT_MAX_S", "POLL_WAIT_S"),
        *("KEEPALIVE_S", "KEEPALIVE_MIN_S", "KEEPALIVE_MAX_S", "OUTPUT_INTERVAL_S"),
        *("LINE_MAX_BYTES", "SPOOL_DIR", "SPOOL_MAX_BYTES", "KILL_GRACE_S"),
        *("RETRY_MIN_S", "RETRY_MAX_S"),
    )
)
