"""The adapter of agents behind a URL, and what an agent is sent of a bound turn.

Dispatching waits for no agent: the adapter records what is bound and rings; ``workers.agents``
sends it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core import agents, follow_up, sessions
from app.core.agents import Held
from app.core.clock import rfc3339
from app.core.platform import Platform
from app.core.sessions import Claim
from workers.adapters import a2a_wire as wire
from workers.adapters.base import Adapter, Delivery, deliver_each
from workers.adapters.inbox import Inbox, bind_each


class OverHttp:
    """Leaves the bound turn to the workers that talk to agents."""

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        sessions.bind(platform, workspace_id, claim.session, bound, inbox=False)
        agents.watch(platform, workspace_id, 0)

    def deliver_each(
        self, platform: Platform, deliveries: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        faults = bind_each(platform, deliveries, inbox=False)
        for delivery, fault in zip(deliveries, faults, strict=True):
            if fault is None:
                agents.watch(platform, delivery.workspace_id, 0)
        return faults


@dataclass(frozen=True)
class ByWorkspace:
    """To an agent behind a URL, or laid out for a runtime that polls: as the claim chose."""

    polled: Adapter = Inbox()
    called: Adapter = OverHttp()

    def deliver(
        self, platform: Platform, workspace_id: str, claim: Claim, bound: Mapping[str, Any]
    ) -> None:
        self._chosen(claim).deliver(platform, workspace_id, claim, bound)

    def deliver_each(
        self, platform: Platform, deliveries: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        faults: dict[str, Exception | None] = {}
        for chosen in (self.polled, self.called):
            own = [one for one in deliveries if self._chosen(one.claim) is chosen]
            ids = [one.claim.session.id for one in own]
            faults |= zip(ids, deliver_each(platform, chosen, own), strict=True)
        return [faults[one.claim.session.id] for one in deliveries]

    def _chosen(self, claim: Claim) -> Adapter:
        return self.called if claim.session.adapter == agents.A2A else self.polled


def message_of(workspace_id: str, held: Held, protocol: str) -> dict[str, Any]:
    """The message of a session: its prompt, what else its caller sent, and who asks.

    Its id is that of the caller's message, or the turn's: the same for each attempt, so an agent
    that knows it already may say so. The answer to a question goes to the task that asked it.
    """
    session, turn = held.session, held.turn
    given = held.body.get("message") or {}
    remote = turn.remote or {}
    facts: dict[str, Any] = {
        "workspace_id": workspace_id,
        "turn_id": turn.id,
        "session_id": session.id,
        "attempt": session.attempt,
        "origin": turn.origin,
        "schedule_id": turn.schedule_id,
        "nominal_at": rfc3339(turn.nominal_at),
        "prompt_version": session.prompt_version,
        "deadline_at": rfc3339(session.ceiling_at),
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    said = follow_up.exchange(held.body) if remote else []  # its task knows what was said before
    text = follow_up.spoken(said[-1]) if said else str(held.bound.get("prompt", ""))
    parts = [wire.new_part(part) for part in given.get("parts") or [] if isinstance(part, Mapping)]
    more = [part for part in parts if "text" not in part]
    return wire.message(
        protocol,
        str(given.get("messageId") or turn.id),
        text,
        more,
        str(remote.get("context") or turn.context_id or ""),
        str(remote.get("task") or ""),
        {**_metadata(given), "turnkeeper": facts},
    )


def _metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    found = given.get("metadata")
    return dict(found) if isinstance(found, Mapping) else {}


def checkpoint_of(held: Held, protocol: str) -> dict[str, Any]:
    """The request to save and stop, to an agent that takes one; the same id each time."""
    session = held.session
    by = rfc3339(session.checkpoint_by)
    text = (
        f"Save your work, say what is done and what is next, and stop by {by}: "
        f"{session.checkpoint_reason or 'your time is over'}."
    )
    facts = {"type": "checkpoint", "session_id": session.id, "deadline_at": by}
    return wire.message(
        protocol,
        f"{session.id}-checkpoint",
        text,
        (),
        session.remote_context or "",
        session.remote or "",
        {"turnkeeper": facts},
    )


def ending_of(said: wire.Said, output_max_bytes: int) -> tuple[str, dict[str, Any]]:
    """Outcome and result of what an agent said last."""
    raw = said.text.encode()
    text = raw[-output_max_bytes:].decode(errors="ignore")
    result: dict[str, Any] = {"text": text}
    limits = []
    if len(raw) > output_max_bytes:
        limits.append(_cut("output_tail", output_max_bytes, len(raw)))
    rich = list(said.parts if said.is_message else said.artifacts)
    measured = len(str(rich).encode())
    if rich and measured > 4 * output_max_bytes:
        limits.append(_cut("output_parts", 4 * output_max_bytes, measured))
    elif said.is_message:
        result["parts"] = rich
    elif rich:
        result["artifacts"] = rich
    if limits:
        result["limits"] = limits
    if said.is_message:
        return "completed", result | {"answer": "message"}
    if said.state in wire.ASKS:
        return "input_required", result | {"interrupt": said.state.replace("-", "_")}
    if said.state in ("failed", "rejected"):
        words = text or f"the agent's task was {said.state}"
        return "failed", result | {"error": {"code": f"agent_{said.state}", "message": words}}
    return {"canceled": "canceled"}.get(said.state, "completed"), result


def _cut(mechanism: str, limit: int, measured: int) -> dict[str, Any]:
    return {
        "mechanism": mechanism,
        "limit_bytes": limit,
        "setting": "TURNKEEPER_OUTPUT_MAX_BYTES",
        "measured_bytes": measured,
    }
