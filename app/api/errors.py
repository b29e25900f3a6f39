"""Every refusal as HTTP: one table of statuses, bodies as problem+json (RFC 9457)."""

import json
import math
import re
from typing import Any, cast

import structlog
from flask import Flask, Response, request
from redis.exceptions import AskError, ClusterError, ReadOnlyError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from app.api.upgrade import VERSION, UpgradeRequired
from app.core import confirming, egress, errors, scripts
from app.core.errors import TurnkeeperError

log = structlog.get_logger(__name__)

STATUS: dict[str, int] = {
    errors.TurnkeeperError.code: 500,
    errors.InvalidInput.code: 422,
    errors.NotFound.code: 404,
    errors.WorkspaceNotFound.code: 404,
    errors.TurnNotFound.code: 404,
    errors.SessionNotFound.code: 404,
    errors.ScheduleNotFound.code: 404,
    errors.MemoryNotFound.code: 404,
    errors.AlreadyExists.code: 409,
    errors.MemoriesFull.code: 409,
    errors.SearchUnavailable.code: 501,
    errors.StaleFence.code: 409,
    errors.IllegalTransition.code: 409,
    errors.StartedElsewhere.code: 409,
    errors.ScheduleChanged.code: 409,
    errors.WebhookChanged.code: 409,
    errors.ReplayRunChanged.code: 409,
    errors.WorkspaceRemoved.code: 410,
    errors.SessionEnded.code: 410,
    errors.IdempotencyConflict.code: 422,
    errors.AnswerPending.code: 409,
    errors.TooManyPushConfigs.code: 409,
    errors.PushConfigNotFound.code: 404,
    errors.UnknownFormat.code: 422,
    errors.QueueFull.code: 429,
    errors.RateLimited.code: 429,
    errors.BodyTooSlow.code: 408,
    errors.TokenChanged.code: 409,
    errors.Unauthorized.code: 401,
    errors.Forbidden.code: 403,
    errors.StoreUnavailable.code: 503,
    errors.StoreFull.code: 503,
    errors.NotReplicated.code: 503,
    errors.Overloaded.code: 503,
    errors.UnknownSchema.code: 503,
    errors.SettingsFault.code: 500,
    egress.UrlRefused.code: 422,
    egress.AddressRefused.code: 422,
    egress.EgressError.code: 502,
    egress.HostUnresolved.code: 502,
    egress.RedirectRefused.code: 502,
    egress.AnswerTooLarge.code: 502,
    egress.ExchangeCut.code: 502,
    egress.AnswerEncoded.code: 502,
    egress.AnswerTooSlow.code: 504,
    "not_json": 400,
    "body_too_large": 413,
    UpgradeRequired.code: 426,
}

RETRY_AFTER_S = {
    "queue_full": 5,
    "answer_pending": 2,
    "store_unavailable": 2,
    "store_full": 30,
    "not_replicated": 1,
    "overloaded": 2,
    "unknown_schema": 30,
}


# A full disk; a demoted or cut-off master; a slot on its way; a script that hangs.
REFUSALS_OF_STORE = re.compile(
    r"(?:^|-)(MISCONF|READONLY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY) "
)
# Of these redis-py keeps the class and takes the word off the text.
KINDS_OF_REFUSAL = (ReadOnlyError, ClusterError, TryAgainError, AskError)


class NotJson(TurnkeeperError):
    """The body is not JSON."""

    code = "not_json"


class BodyTooLarge(TurnkeeperError):
    """The body is larger than the limit."""

    code = "body_too_large"


def problem(status: int, code: str, title: str, detail: str, fields: dict[str, Any]) -> Response:
    """An ``application/problem+json`` response."""
    body = {
        "type": f"urn:turnkeeper:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
    }
    text = json.dumps({**fields, **body, "detail": detail}, ensure_ascii=False)
    response = Response(text, status, content_type="application/problem+json")
    wait_s = fields.get("retry_after_s", RETRY_AFTER_S.get(code))
    if wait_s is not None:
        response.headers["Retry-After"] = str(math.ceil(wait_s))
    if status == 426:
        response.headers["Upgrade"] = "websocket"
        response.headers["Sec-WebSocket-Version"] = VERSION
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def of(error: TurnkeeperError) -> Response:
    """The response that tells this refusal."""
    title = (type(error).__doc__ or "").splitlines()[0]
    return problem(STATUS[error.code], error.code, title, error.detail, error.fields)


def confirmed(response: AnyResponse) -> AnyResponse:
    """The response, unless it tells of a change that too few replicas have confirmed.

    Raises:
        NotReplicated.
    """
    if response.status_code < 400:
        try:
            confirming.check()
        except errors.NotReplicated:
            response.close()
            raise
    return response


def meaning(error: RedisError) -> TurnkeeperError:
    """What a failure of the store is to a caller; logged here."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        log.warning("redis is away", error=str(error))
        return errors.StoreUnavailable()
    if scripts.is_full(error):
        log.error("redis is full", error=str(error))
        return errors.StoreFull()
    # Searched for, not only at the start: 6.2 wraps what a command inside a script was told.
    if isinstance(error, KINDS_OF_REFUSAL) or REFUSALS_OF_STORE.search(str(error)):
        log.error("redis refuses writes", error=str(error))
        return errors.StoreUnavailable()
    log.error("redis refused a command", exc_info=error)
    return TurnkeeperError("the store refused a command; see the log")


def install(app: Flask) -> None:
    """Answer every error of the app as a problem."""

    @app.after_request
    def unconfirmed(response: Response) -> Response:
        try:
            return cast(Response, confirmed(response))
        except errors.NotReplicated as error:
            return of(error)

    @app.errorhandler(TurnkeeperError)
    def refused(error: TurnkeeperError) -> Response:
        return of(error)

    @app.errorhandler(RedisError)
    def store(error: RedisError) -> Response:
        return of(meaning(error))

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> AnyResponse:
        status = error.code or 500
        if status < 400:
            return error.get_response()
        if status == 413:
            limit, length = app.config["MAX_CONTENT_LENGTH"], request.content_length
            return of(
                BodyTooLarge(
                    f"body: at most {limit} bytes",
                    mechanism="body_max",
                    limit_bytes=limit,
                    # A chunked body was read up to the limit and no further.
                    measured_bytes=limit + 1 if length is None else length,
                    setting="TURNKEEPER_BODY_MAX_BYTES",
                )
            )
        code = error.name.lower().replace(" ", "_")
        response = problem(status, code, error.name, error.description or error.name, {})
        for name, value in error.get_headers():
            if name.lower() in ("allow", "retry-after"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        log.error("unhandled", exc_info=error)
        return of(errors.TurnkeeperError("an internal fault; see the log"))
