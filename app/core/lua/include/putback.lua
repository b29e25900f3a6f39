-- Puts a claimed turn back in its lane, to be claimed again after a pause that doubles.
-- @args backoff_ms backoff_max_ms
-- @include session
local function backoff(count)
  return math.min(tonumber(A.backoff_ms) * 2 ^ math.min(count - 1, 30), tonumber(A.backoff_max_ms))
end

local function put_back(turn, session, mechanism, pause, facts)
  turn.session_id, turn.not_before = nil, NOW + pause
  if not move(turn, 'queued', mechanism, facts) then return false end
  if pause > 0 then
    redis.call('ZADD', K.delayed, turn.not_before, turn.id)
  else
    redis.call('ZADD', K.returned, RANK[turn.lane] * 1e12 + turn.seq, turn.id)
  end
  local payload = facts or {}
  payload.pause_ms, payload.losses = pause, turn.losses
  emit('TURN_RETURNED', turn, session, payload, mechanism)
  return true
end
