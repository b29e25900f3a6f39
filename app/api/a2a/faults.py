"""The errors of A2A: one table, told as JSON-RPC, as HTTP+JSON (AIP-193), or inside a stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from redis.exceptions import RedisError

from app.api import errors
from app.api.operation import refusal
from app.core.errors import (
    IdempotencyConflict,
    IllegalTransition,
    InvalidInput,
    NotFound,
    TurnkeeperError,
    TurnNotFound,
)

DOMAIN = "a2a-protocol.org"
OWN_DOMAIN = "turnkeeper"
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


@dataclass(frozen=True)
class Kind:
    """One row of the specification's tables of errors."""

    code: int
    status: int
    grpc_status: str
    message: str


KINDS: Mapping[str, Kind] = {
    "PARSE_ERROR": Kind(-32700, 400, "INVALID_ARGUMENT", "Invalid JSON payload"),
    "INVALID_REQUEST": Kind(-32600, 400, "INVALID_ARGUMENT", "Invalid Request"),
    "METHOD_NOT_FOUND": Kind(-32601, 404, "NOT_FOUND", "Method not found"),
    "INVALID_PARAMS": Kind(-32602, 400, "INVALID_ARGUMENT", "Invalid params"),
    "INTERNAL_ERROR": Kind(-32603, 500, "INTERNAL", "Internal error"),
    "TASK_NOT_FOUND": Kind(-32001, 404, "NOT_FOUND", "Task not found"),
    "TASK_NOT_CANCELABLE": Kind(-32002, 409, "FAILED_PRECONDITION", "Task cannot be canceled"),
    "UNSUPPORTED_OPERATION": Kind(
        -32004, 400, "FAILED_PRECONDITION", "This operation is not supported"
    ),
    "CONTENT_TYPE_NOT_SUPPORTED": Kind(
        -32005, 415, "INVALID_ARGUMENT", "Incompatible content types"
    ),
    "EXTENDED_AGENT_CARD_NOT_CONFIGURED": Kind(
        -32007, 400, "FAILED_PRECONDITION", "Authenticated Extended Card is not configured"
    ),
    "VERSION_NOT_SUPPORTED": Kind(-32009, 400, "FAILED_PRECONDITION", "Version not supported"),
}


class Fault(Exception):
    """A request that is answered with an error.

    ``reason`` is a row of KINDS. ``own_code`` and ``status`` are set where the kernel refused:
    then the HTTP status is ours, so that what a retry may cure is retried.
    """

    def __init__(
        self,
        reason: str,
        message: str = "",
        *,
        rules: list[dict[str, str]] | None = None,
        own_code: str = "",
        facts: Mapping[str, Any] | None = None,
        status: int | None = None,
    ) -> None:
        self.reason, self.kind = reason, KINDS[reason]
        self.message = message or self.kind.message
        self.rules, self.own_code, self.facts = rules or [], own_code, dict(facts or {})
        self.status = status
        super().__init__(self.message)

    @property
    def rpc_status(self) -> int:
        """200, but where a retry may help, or an idempotency key refuses, our own status."""
        told = self.headers or self.own_code == IdempotencyConflict.code
        return (self.status or 200) if told else 200

    @property
    def header_arguments(self) -> dict[str, str]:
        """The headers as ``answer`` takes them."""
        return {name.replace("-", "_"): text for name, text in self.headers.items()}

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After`` where a retry may help."""
        after_s = errors.RETRY_AFTER_S.get(self.own_code)
        return {} if after_s is None else {"Retry-After": str(after_s)}

    def details(self) -> list[dict[str, Any]]:
        """Typed details: which error it is, and the fields that break a rule."""
        domain = OWN_DOMAIN if self.own_code else DOMAIN
        reason = self.own_code.upper() or self.reason
        metadata = {name: str(value) for name, value in self.facts.items()}
        found: list[dict[str, Any]] = [
            {"@type": INFO, "reason": reason, "domain": domain, "metadata": metadata}
        ]
        if self.rules:
            rows = [{"field": row["field"], "description": row["rule"]} for row in self.rules]
            found.append({"@type": BAD_REQUEST, "fieldViolations": rows})
        return found

    def as_rpc(self, protocol: str) -> dict[str, Any]:
        """The error member of a JSON-RPC answer."""
        data: Any = self.details()
        if protocol != "1.0":
            if self.own_code:
                data = {**self.facts, "code": self.own_code}
            elif self.rules:
                data = self.rules
        return {"code": self.kind.code, "message": self.message, "data": data}

    def as_http(self) -> tuple[dict[str, Any], int]:
        """The body and the status of an HTTP+JSON answer."""
        status = self.status or self.kind.status
        told = {
            "code": status,
            "status": self.kind.grpc_status,
            "message": self.message,
            "details": self.details(),
        }
        return {"error": told}, status


# What is told as an error; anything else is a fault of ours.
KNOWN = (Fault, TurnkeeperError, RedisError, ValidationError)


def meaning(error: Exception) -> Fault:
    """The fault that an exception of KNOWN is told as."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, ValidationError):
        error = refusal(error, "params")
    if isinstance(error, RedisError):
        error = errors.meaning(error)
    if isinstance(error, errors.NotJson):
        return Fault("PARSE_ERROR", error.detail, status=400)
    if isinstance(error, InvalidInput):
        return Fault("INVALID_PARAMS", error.detail, rules=error.fields.get("errors"))
    if isinstance(error, TurnNotFound):
        return Fault("TASK_NOT_FOUND")
    if isinstance(error, NotFound):
        return Fault("TASK_NOT_FOUND", error.detail)
    if isinstance(error, IllegalTransition):
        state = error.fields.get("state", "")
        return Fault("UNSUPPORTED_OPERATION", f"the task is {state}: it waits for no input")
    if not isinstance(error, TurnkeeperError):
        raise TypeError(f"not one of KNOWN: {error!r}")
    return Fault(
        "INTERNAL_ERROR",
        error.detail,
        own_code=error.code,
        facts=error.fields,
        status=errors.STATUS[error.code],
    )
