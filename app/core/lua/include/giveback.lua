-- Returns a turn whose session was lost to the front of its lane, or makes it a dead letter.
-- A turn that its caller canceled meanwhile does not come back.
-- @args max_attempts backoff_ms backoff_max_ms
-- @include session
local function give_back(turn, session, mechanism, counts, holds)
  if session.unwanted then
    if not move(turn, 'canceled', 'cancel') then return false end
    emit('TASK_UPDATED', turn, session, {state = 'canceled', reason = session.cancel_reason}, 'cancel')
    cron_event(turn, session)
    return true
  end
  if counts then turn.losses = turn.losses + 1 end
  local spent = turn.losses >= (turn.max_attempts or tonumber(A.max_attempts))
  if counts and (spent or turn.redeliver == 'never') then
    if not move(turn, 'dead', mechanism) then return false end
    emit('TURN_DEAD', turn, session, {
      limit_count = spent and (turn.max_attempts or tonumber(A.max_attempts)) or 1,
      measured_count = turn.losses, setting = spent and 'TURNKEEPER_MAX_ATTEMPTS' or 'redeliver',
    }, mechanism)
    cron_event(turn, session)
    return true
  end
  local pause = 0
  if counts then
    pause = math.min(tonumber(A.backoff_ms) * 2 ^ math.min(turn.losses - 1, 30), tonumber(A.backoff_max_ms))
  end
  turn.session_id, turn.not_before = nil, NOW + pause
  if not move(turn, 'queued', mechanism) then return false end
  if pause > 0 then
    redis.call('ZADD', K.delayed, turn.not_before, turn.id)
    local until_ms = number(redis.call('HGET', K.workspace, 'hold_until')) or 0
    if holds and turn.not_before > until_ms then
      redis.call('HSET', K.workspace, 'hold_until', string.format('%.0f', turn.not_before))
    end
  else
    redis.call('ZADD', K.returned, RANK[turn.lane] * 1e12 + turn.seq, turn.id)
  end
  emit('TURN_RETURNED', turn, session, {pause_ms = pause, losses = turn.losses}, mechanism)
  return true
end
