"""Every refusal of the kernel: one base class, a stable code, fields instead of prose.

The HTTP status of each code stands in one table in ``app/api/errors.py``.
"""

from typing import Any, ClassVar


class TurnkeeperError(Exception):
    """Something was refused."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str | None = None, **fields: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "").splitlines()[0]
        self.fields = fields
        super().__init__(self.detail)


class InvalidInput(TurnkeeperError):
    """A field of the request breaks a rule."""

    code = "invalid_input"

    def __init__(self, field: str, rule: str, **fields: Any) -> None:
        super().__init__(f"{field}: {rule}", errors=[{"field": field, "rule": rule}], **fields)


class NotFound(TurnkeeperError):
    """No such thing."""

    code = "not_found"


class WorkspaceNotFound(NotFound):
    """No workspace has this id."""

    code = "workspace_not_found"


class TurnNotFound(NotFound):
    """No turn has this id, or its retention has passed."""

    code = "turn_not_found"


class SessionNotFound(NotFound):
    """No session has this id, or its retention has passed."""

    code = "session_not_found"


class SessionEnded(TurnkeeperError):
    """The session has ended; nothing more is wanted of it."""

    code = "session_ended"


class ScheduleNotFound(NotFound):
    """No schedule has this id."""

    code = "schedule_not_found"


class MemoryNotFound(NotFound):
    """No memory of these stores has this id, or it was removed."""

    code = "memory_not_found"


class MemoriesFull(TurnkeeperError):
    """The store has reached its bound; remove memories that no longer hold."""

    code = "memories_full"


class SearchUnavailable(TurnkeeperError):
    """This server's SQLite has no FTS5: memories are listed, not searched."""

    code = "search_unavailable"


class AlreadyExists(TurnkeeperError):
    """Something with this id exists already."""

    code = "already_exists"


class StaleFence(TurnkeeperError):
    """The session has ended or its fence has moved; the write was refused and kept in the log."""

    code = "stale_fence"


class IllegalTransition(TurnkeeperError):
    """The turn is in a state from which this change is not allowed."""

    code = "illegal_transition"


class StartedElsewhere(TurnkeeperError):
    """Another runtime has already started this session."""

    code = "started_elsewhere"


class WorkspaceRemoved(TurnkeeperError):
    """The workspace was removed; it takes no more work and no more heartbeats."""

    code = "workspace_removed"


class QueueFull(TurnkeeperError):
    """The workspace's queue has reached its bound."""

    code = "queue_full"


class IdempotencyConflict(TurnkeeperError):
    """This idempotency key was used before with another body."""

    code = "idempotency_conflict"


class AnswerPending(TurnkeeperError):
    """The first request under this idempotency key is still being answered."""

    code = "answer_pending"


class TooManyPushConfigs(TurnkeeperError):
    """The turn has as many push notification configurations as it may have."""

    code = "too_many_push_configs"


class PushConfigNotFound(NotFound):
    """The turn has no push notification configuration of this id."""

    code = "push_config_not_found"


class ScheduleChanged(TurnkeeperError):
    """The schedule was changed by someone else between reading and writing it; read it again."""

    code = "schedule_changed"


class WebhookChanged(TurnkeeperError):
    """The webhook is being changed by others at the same time; try again."""

    code = "webhook_changed"


class ReplayRunChanged(TurnkeeperError):
    """Others changed the run of replays at the same time; ask again."""

    code = "replay_run_changed"


class BodyTooSlow(TurnkeeperError):
    """The request's body did not arrive in time."""

    code = "body_too_slow"


class RateLimited(TurnkeeperError):
    """The token asks more often than its limit allows; wait before the next request."""

    code = "rate_limited"


class TokenChanged(TurnkeeperError):
    """The token is being changed by others at the same time; read it again."""

    code = "token_changed"


class Unauthorized(TurnkeeperError):
    """A bearer token is required, and the one given is not known, expired or revoked."""

    code = "unauthorized"


class Forbidden(TurnkeeperError):
    """The token does not carry the scope, or does not reach the workspace, that this needs."""

    code = "forbidden"


class StoreUnavailable(TurnkeeperError):
    """Redis cannot be reached; nothing was accepted. Try again."""

    code = "store_unavailable"


class StoreFull(TurnkeeperError):
    """Redis has reached its memory limit and refuses writes; nothing was accepted."""

    code = "store_full"


class NotReplicated(TurnkeeperError):
    """The change is made, but too few replicas have confirmed it; the same request tries again."""

    code = "not_replicated"


class Overloaded(TurnkeeperError):
    """Too many requests are waiting here already; try again shortly."""

    code = "overloaded"


class UnknownSchema(TurnkeeperError):
    """The data in Redis was written by another version of the schema."""

    code = "unknown_schema"


class UnknownFormat(TurnkeeperError):
    """The document is of another kind, or of a newer version than this release reads."""

    code = "unknown_format"


class SettingsFault(TurnkeeperError):
    """The settings cannot be used."""

    code = "settings_fault"
