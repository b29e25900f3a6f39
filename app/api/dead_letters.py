"""Routes of dead letters: list, replay in phases, discard."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response

from app.api import models, views
from app.api.operation import answer, operation, platform
from app.core import dead_letters, replay_runs, workspaces
from app.core.clock import rfc3339
from app.core.dead_letters import Filter
from app.core.replay_runs import Run, Wish

blueprint = Blueprint("dead_letters", __name__)
TAG = "dead letters"


def _filter(asked: models.DeadLetterQuery | models.Letters) -> Filter:
    """Ages as moments of the server's clock."""
    if asked.workspace_id is not None:
        workspaces.require(platform(), asked.workspace_id)
    now_ms = platform().now_ms()

    def moment(age_s: float | None) -> int | None:
        return None if age_s is None else now_ms - round(age_s * 1000)

    return Filter(
        workspace_id=asked.workspace_id,
        reason=asked.reason,
        origin=asked.origin,
        since_ms=moment(asked.newer_than_s),
        until_ms=moment(asked.older_than_s),
    )


def shown(run: Run) -> dict[str, Any]:
    """A run as the API shows one."""
    letters = {name: value for name, value in asdict(run.wanted).items() if value is not None}
    for name in ("since_ms", "until_ms"):
        if name in letters:
            letters[name.removesuffix("_ms")] = rfc3339(letters.pop(name))
    return {
        "id": run.id,
        "state": run.state,
        "reason": run.reason,
        "limit": run.limit,
        "created_at": rfc3339(run.created_at),
        "ended_at": rfc3339(run.ended_at),
        "letters": letters,
        "at_once": run.at_once,
        "stop_after": run.stop_after,
        "total": run.total_count,
        "settled": run.settled_count,
        "good": run.good_count,
        "bad": run.bad_count,
        "other": run.other_count,
        "bad_in_a_row": run.bad_in_a_row,
        "under_way": [asdict(flight) for flight in run.under_way],
        "refused": [dict(row) for row in run.refused],
    }


@blueprint.get("/admin/dead-letters")
@operation(
    "operate", tag=TAG, query=models.DeadLetterQuery, reply=models.DeadLetters, refusals=(404,)
)
def list_dead_letters(query: models.DeadLetterQuery) -> Response:
    """Dead letters of all workspaces, or of one, by reason, origin and age."""
    wanted = _filter(query)
    found = dead_letters.first(platform(), wanted, query.limit)
    rows = [views.turn(letter.workspace_id, letter.turn) for letter in found]
    return answer({"dead_letters": rows, "total": dead_letters.count(platform(), wanted)})


@blueprint.post("/admin/dead-letters/replay")
@operation(
    "operate",
    tag=TAG,
    body=models.ReplayLetters,
    reply=models.ReplayRun,
    status=202,
    more={200: models.ReplayRun},
    refusals=(404,),
)
def replay_dead_letters(body: models.ReplayLetters) -> Response:
    """Begin to replay dead letters, some at a time; it goes on whatever restarts."""
    wish = Wish(_filter(body), body.at_once, body.stop_after)
    if body.dry_run:
        total = dead_letters.count(platform(), wish.wanted)
        plan = Run("", platform().now_ms(), wish.wanted, wish.at_once, wish.stop_after, total)
        return answer(shown(plan) | {"state": "planned", "created_at": None})
    return answer(shown(replay_runs.begin(platform(), wish)), 202)


@blueprint.get("/admin/dead-letters/replays")
@operation("operate", tag=TAG, reply=models.ReplayRuns)
def list_replay_runs() -> Response:
    """Runs of replays, newest first."""
    return answer({"runs": [shown(run) for run in replay_runs.listing(platform())]})


@blueprint.get("/admin/dead-letters/replays/<run_id>")
@operation("operate", tag=TAG, reply=models.ReplayRun)
def show_replay_run(run_id: str) -> Response:
    """One run of replays: how far it is, and why it does not go on."""
    return answer(shown(replay_runs.get(platform(), run_id)))


@blueprint.post("/admin/dead-letters/replays/<run_id>/cancel")
@operation("operate", tag=TAG, body=models.Reason, reply=models.ReplayRun, refusals=(409,))
def cancel_replay_run(run_id: str, body: models.Reason) -> Response:
    """Let a run begin no further replay; those under way go on."""
    return answer(shown(replay_runs.cancel(platform(), run_id, body.reason)))


@blueprint.post("/admin/dead-letters/discard")
@operation("operate", tag=TAG, body=models.DiscardLetters, reply=models.Discarded, refusals=(404,))
def discard_dead_letters(body: models.DiscardLetters) -> Response:
    """Give dead letters up; each is told as TURN_DISCARDED and then kept like any ended turn."""
    wanted = _filter(body)
    total = dead_letters.count(platform(), wanted)
    if body.dry_run:
        done = min(total, body.limit)
    else:
        done = dead_letters.discard_all(platform(), wanted, body.limit, body.discard_reason)
    told = {"discarded": done, "left": max(0, total - done), "dry_run": body.dry_run}
    return answer(told)
