"""One session's reports: sent, or spooled in order when the platform cannot be reached."""

from collections.abc import Callable
from typing import Any

import structlog

from runtime.client import Platform, PlatformError, Refused, StaleFence, Unreachable
from runtime.spool import Spool
from runtime.wire import Directive, Turn, parse_directives

log = structlog.get_logger(__name__)

Json = dict[str, Any]


class Reporter:
    """Reports of one session under its fence. Used by the session's own thread."""

    def __init__(
        self,
        turn: Turn,
        platform: Platform,
        spool: Spool,
        on_directives: Callable[[tuple[Directive, ...]], None],
        on_stale: Callable[[], None],
    ) -> None:
        self._turn = turn
        self._platform = platform
        self._spool = spool
        self._on_directives = on_directives
        self._on_stale = on_stale
        self._log = log.bind(session_id=turn.session_id, fence=turn.fence)

    def progress(self, report: Json) -> None:
        """Say that the work advanced. What cannot be sent is spooled, except a keepalive."""
        turn = self._turn
        is_keepalive = report["kind"] == "keepalive"
        if not is_keepalive and self._spool.has(turn.session_id):
            self._keep({"type": "progress", **report})
            return
        try:
            reply = self._platform.progress(turn.session_id, turn.fence, report)
        except StaleFence:
            self._on_stale()
        except Unreachable as error:
            self._log.info("progress_waits", kind=report["kind"], error=str(error))
            if not is_keepalive:
                self._keep({"type": "progress", **report})
        except Refused as error:
            self._log.warning("progress_refused", kind=report["kind"], error=str(error))
        else:
            self._on_directives(parse_directives(reply))

    def finish(self, report: Json) -> None:
        """Give the outcome, or spool it."""
        turn = self._turn
        if self._spool.has(turn.session_id):
            self._keep({"type": "finish", **report})
            return
        try:
            self._platform.finish(turn.session_id, turn.fence, report)
        except StaleFence as error:
            self._log.warning("finish_dropped", outcome=report["outcome"], error=str(error))
        except Unreachable as error:
            self._log.warning("finish_waits", outcome=report["outcome"], error=str(error))
            self._keep({"type": "finish", **report})
        except Refused as error:
            self._log.error("finish_refused", outcome=report["outcome"], error=str(error))
            if error.is_about_the_token:
                self._keep({"type": "finish", **report})
        else:
            self._log.info("turn_finished", outcome=report["outcome"])

    def release(self, reason: str) -> None:
        """Hand the turn back. Not spooled: a platform that is away finds out by the beat."""
        try:
            self._platform.release(self._turn.session_id, self._turn.fence, reason)
        except PlatformError as error:
            self._log.warning("release_failed", error=str(error))
        else:
            self._log.info("turn_released", reason=reason)

    def _keep(self, report: Json) -> None:
        """Put a report on disk, where the disk takes it."""
        try:
            self._spool.append(self._turn.session_id, self._turn.fence, report)
        except OSError as error:
            self._log.error("spool_failed", type=report["type"], error=str(error))
