-- The platform ends a session whose clock ran out, or that an operator ended. The clock is read
-- again here, so two reapers act once and a session that moved in the meantime lives on.
-- mechanism: ceiling | idle_timeout | handover | lease | lost | cancel | operator | overlap
-- @args session_id fence mechanism limit_ms setting reason
-- @returns {"ended", turn state, wake at ms, runnable 0|1} | {"alive"}
-- @include full giveback retry
local session = read(K.sessions, A.session_id)
if not session or session.ended_at or session.fence ~= number(A.fence) then return {'alive'} end
local turn, limit = read(K.turns, session.turn_id), number(A.limit_ms) or 0
local rivals = 0 -- waiting fires of the session's own schedule
if A.mechanism == 'overlap' then
  rivals = redis.call('ZLEXCOUNT', K.fires_waiting, range(session.schedule_id or ''))
end
local over = {
  ceiling = session.ceiling_at and NOW - session.claimed_at,
  idle_timeout = session.started_at and NOW - session.seen_at,
  handover = session.state == 'claimed' and not session.digest and NOW - session.claimed_at,
  lease = not session.started_at and NOW - session.claimed_at,
  cancel = session.cancel_asked_at and NOW - session.cancel_asked_at,
  lost = (session.missed or 0) >= 2 and limit,
  operator = limit, overlap = rivals > 0 and limit,
}
local measured = over[A.mechanism]
if not measured or measured < limit then return {'alive'} end
let_through()
local facts = {limit_ms = limit, measured_ms = measured, setting = A.setting, reason = A.reason}
-- Nobody started it: for the turn, its delivery failed.
local mechanism = A.mechanism == 'handover' and 'delivery_failed' or A.mechanism == 'lease' and 'delivery_failed' or A.mechanism
if A.mechanism == 'lost' then -- a count of beats, not a time
  facts = {limit_count = 2, measured_count = session.missed, setting = A.setting, silent_ms = NOW - session.seen_at}
end
if A.mechanism == 'overlap' then
  facts = {limit_count = 1, measured_count = 1 + rivals, setting = A.setting, reason = A.reason}
end
local ends = {ceiling = 'force_idled', operator = 'force_idled', overlap = 'force_idled', cancel = 'canceled'}
local moved
if ends[A.mechanism] then
  local again = A.mechanism == 'ceiling' and retry(turn, session, 'force_idled')
  moved = again or move(turn, ends[A.mechanism], A.mechanism, facts)
  if moved and not again then cron_event(turn, session) end
elseif A.mechanism == 'handover' then
  moved = not_handed(turn, session)
else
  -- Nobody took it: no attempt is used up. Only a runtime that was handed it and never started
  -- counts, and holds the workspace's next claim back.
  local taken = (session.delivered_at or session.started_at) ~= nil
  local lost_by = mechanism
  moved = give_back(turn, session, lost_by, taken, taken and not session.started_at)
end
if not moved then return {'alive'} end
if session.started_at then redis.call('ZADD', K.zombies, NOW, session.id) end
close(session, turn, mechanism, facts)
return {'ended', turn.state, turn.state == 'queued' and turn.not_before or 0, runnable()}
