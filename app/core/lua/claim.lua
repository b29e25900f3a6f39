-- Gives the next turn to a new session, only where the workspace has room for one.
-- The session id is the caller's token: a repeated call gets the same answer again.
-- @keys schedules policy
-- @returns {"claimed" | "replayed", session, turn, body, schedule or "", note or "", depth left,
-- @returns   team or "", sequence of its own memories or ""}
-- @returns {"paused" | "backing_off" | "heartbeat_expired" | "capacity_full" | "overlap" | "empty",
-- @returns   wake at ms}: overlap: what waits waits for a fire of its own schedule to end
-- @returns refused: workspace_not_found, illegal_transition
-- @include full choose overlap open
local function given(outcome, session_text, turn, turn_text, depth, team)
  local note = note_place(turn)
  return {outcome, session_text, turn_text, redis.call('HGET', K.bodies, turn.id) or '',
    turn.schedule_id and redis.call('HGET', K.schedules, turn.schedule_id) or '',
    note and redis.call('HGET', K.notes, note) or '', depth,
    team or '', redis.call('HGET', K.policy, 'seq') or ''}
end

local known = read(K.sessions, A.session_id)
if known then
  local turn = read(K.turns, known.turn_id)
  return given('replayed', cjson.encode(known), turn, cjson.encode(turn), (waiting()),
    redis.call('HGET', K.workspace, 'team'))
end

local ws = redis.call('HMGET', K.workspace, 'status', 'paused_at', 'hold_until', 'max_concurrent',
  'ceiling_ms', 'adapter', 'agent_url', 'team')
if not ws[1] or ws[1] == 'removed' then return refuse('workspace_not_found') end
if ws[2] then return {'paused', 0} end
if (number(ws[3]) or 0) > NOW then return {'backing_off', ws[3]} end
local free = room(ws[4])
if not free then return {'heartbeat_expired', 0} end
if free <= 0 then return {'capacity_full', 0} end

need_memory()
local turn, schedule
while left > 0 and not turn do
  local found = choose()
  if found then
    turn, schedule = admit(take(found))
  elseif not heal() then
    local delayed = redis.call('ZRANGE', K.delayed, 0, 0, 'WITHSCORES')
    if delayed[2] then return {'backing_off', delayed[2]} end
    return {(waiting()) > 0 and 'overlap' or 'empty', 0}
  end
  spend()
end
if not turn then return {'empty', NOW} end

local session, session_text = open(turn, schedule, {ceiling_ms = ws[5], adapter = ws[6], agent_url = ws[7]})
if not session then return refuse('illegal_transition', {state = turn.state}) end
-- Of a fire others may have been ended or set aside.
local depth = schedule and waiting() or before - 1
return given('claimed', session_text, turn, saved_text, depth, ws[8])
