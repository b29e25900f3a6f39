-- Opens a session for a chosen turn: a fence from the workspace's epoch, and its deadlines.
-- @args session_id ceiling_ms checkpoint_grace_ms cancel_grace_ms lease_ttl_ms
-- @include session
-- The schedule's own ceiling, else the workspace's, else the default; 0: none.
local function ceiling_of(schedule)
  if schedule and schedule.ceiling_s then return math.floor(schedule.ceiling_s * 1000 + 0.5) end
  return number(redis.call('HGET', K.workspace, 'ceiling_ms')) or number(A.ceiling_ms)
end

local function open(turn, schedule)
  local ceiling = ceiling_of(schedule)
  turn.attempt, turn.session_id, turn.started_at = turn.attempt + 1, A.session_id, NOW
  if not move(turn, 'claimed') then return nil end
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
  keep(session)
  redis.call('ZADD', K.live, NOW, session.id)
  emit('TURN_CLAIMED', turn, session, {
    lane = turn.lane, attempt = turn.attempt, waited_ms = NOW - turn.accepted_at, ceiling_ms = ceiling,
  })
  return session
end
