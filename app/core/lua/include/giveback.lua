-- Returns a turn whose session was lost to the front of its lane, or makes it a dead letter.
-- A turn that its caller canceled meanwhile does not come back.
-- @keys schedules
-- @args max_attempts handovers_max
-- @include putback
-- Whether a lost turn may be delivered again, and who says so: the turn, its schedule, its workspace.
local function redelivery(turn)
  if turn.redeliver then return turn.redeliver, 'turn.redeliver' end
  local schedule = turn.schedule_id and read(K.schedules, turn.schedule_id)
  if schedule and schedule.redeliver then return schedule.redeliver, 'schedule.redeliver' end
  return redis.call('HGET', K.workspace, 'redeliver') or 'on_loss', 'workspace.redeliver'
end

local function give_up(turn, session, mechanism, facts)
  if not move(turn, 'dead', mechanism, facts) then return false end
  emit('TURN_DEAD', turn, session, facts, mechanism)
  cron_event(turn, session)
  return true
end

-- The whole workspace waits with the turn, and says by which mechanism.
local function hold(until_ms, mechanism)
  if until_ms <= (number(redis.call('HGET', K.workspace, 'hold_until')) or 0) then return end
  redis.call('HSET', K.workspace, 'hold_until', string.format('%.0f', until_ms), 'hold_by', mechanism)
end

local function give_back(turn, session, mechanism, counts, holds)
  if session.unwanted then
    if not move(turn, 'canceled', 'cancel') then return false end
    emit('TASK_UPDATED', turn, session, {state = 'canceled', reason = session.cancel_reason}, 'cancel')
    cron_event(turn, session)
    return true
  end
  if not counts then return put_back(turn, session, mechanism, 0) end
  turn.losses = turn.losses + 1
  local most, rule, setting = turn.max_attempts or tonumber(A.max_attempts), redelivery(turn)
  local spent = turn.losses >= most
  if spent or rule == 'never' then
    return give_up(turn, session, mechanism, {
      limit_count = spent and most or 1, measured_count = turn.losses,
      setting = spent and 'TURNKEEPER_MAX_ATTEMPTS' or setting,
    })
  end
  if not put_back(turn, session, mechanism, backoff(turn.losses)) then return false end
  if holds then hold(turn.not_before, mechanism) end
  return true
end

-- Its worker died, or could not lay it out. No agent had it: no attempt is used up, but a turn that
-- takes down whoever touches it must not come back for ever.
local function not_handed(turn, session)
  if session.unwanted then return give_back(turn, session, 'delivery_failed') end
  turn.handovers = (turn.handovers or 0) + 1
  local most = tonumber(A.handovers_max)
  if turn.handovers >= most then
    return give_up(turn, session, 'delivery_failed',
      {limit_count = most, measured_count = turn.handovers, setting = 'TURNKEEPER_HANDOVERS_MAX'})
  end
  return put_back(turn, session, 'delivery_failed', turn.handovers > 1 and backoff(turn.handovers - 1) or 0)
end
