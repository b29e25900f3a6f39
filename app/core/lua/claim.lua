-- Gives the next turn to a new session, only where the workspace has room for one.
-- The session id is the caller's token: a repeated call gets the same answer again.
-- @keys schedules
-- @args session_id ceiling_ms checkpoint_grace_ms cancel_grace_ms lease_ttl_ms
-- @returns {"claimed" | "replayed", session, turn, body, schedule or "", note or "", depth left}
-- @returns {"paused" | "backing_off" | "heartbeat_expired" | "capacity_full" | "empty", wake at ms}
-- @returns refused: workspace_not_found
-- @include choose session
local function given(outcome, session, turn)
  local note = turn.schedule_id and 'sch:' .. turn.schedule_id or turn.context_id and 'ctx:' .. turn.context_id
  return {outcome, cjson.encode(session), cjson.encode(turn), redis.call('HGET', K.bodies, turn.id) or '',
    turn.schedule_id and redis.call('HGET', K.schedules, turn.schedule_id) or '',
    note and redis.call('HGET', K.notes, note) or '', (waiting())}
end

local known = read(K.sessions, A.session_id)
if known then return given('replayed', known, read(K.turns, known.turn_id)) end

local ws = redis.call('HMGET', K.workspace, 'status', 'paused_at', 'hold_until', 'ceiling_ms')
if not ws[1] or ws[1] == 'removed' then return refuse('workspace_not_found') end
if ws[2] then return {'paused', 0} end
if (number(ws[3]) or 0) > NOW then return {'backing_off', ws[3]} end
local free = room()
if not free then return {'heartbeat_expired', 0} end
if free <= 0 then return {'capacity_full', 0} end

local turn
for _ = 1, 100 do
  local found = choose()
  if not found then
    local delayed = redis.call('ZRANGE', K.delayed, 0, 0, 'WITHSCORES')
    return {delayed[2] and 'backing_off' or 'empty', delayed[2] or 0}
  end
  turn = take(found)
  if not turn.expires_at or turn.expires_at > NOW then break end
  move(turn, 'expired', 'ttl')
  emit('TURN_EXPIRED', turn, nil, {expired_at = turn.expires_at, waited_ms = NOW - turn.accepted_at}, 'ttl')
  turn = nil
end
if not turn then return {'empty', NOW} end

local schedule = turn.schedule_id and read(K.schedules, turn.schedule_id)
local ceiling = schedule and schedule.ceiling_s and schedule.ceiling_s * 1000 or number(ws[4]) or number(A.ceiling_ms)
turn.attempt = turn.attempt + 1
local session = {
  id = A.session_id, turn_id = turn.id, fence = redis.call('HINCRBY', K.workspace, 'epoch', 1),
  state = 'claimed', attempt = turn.attempt, lane = turn.lane, origin = turn.origin,
  schedule_id = turn.schedule_id, nominal_at = turn.nominal_at, claimed_at = NOW, seen_at = NOW,
  progress_at = NOW, lease_until = NOW + tonumber(A.lease_ttl_ms), ceiling_ms = ceiling,
  prompt_version = schedule and schedule.prompt_version,
}
if ceiling > 0 then
  session.ceiling_at = NOW + ceiling
  session.checkpoint_at = session.ceiling_at - tonumber(A.checkpoint_grace_ms)
  session.cancel_at = session.ceiling_at - tonumber(A.cancel_grace_ms)
end
turn.session_id, turn.started_at = session.id, NOW
if not move(turn, 'claimed') then return refuse('illegal_transition', {state = turn.state}) end
keep(session)
redis.call('ZADD', K.live, NOW, session.id)
emit('TURN_CLAIMED', turn, session, {
  lane = turn.lane, attempt = turn.attempt, waited_ms = NOW - turn.accepted_at, ceiling_ms = ceiling,
})
return given('claimed', session, turn)
