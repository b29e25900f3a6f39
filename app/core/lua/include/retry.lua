-- Queues a fire again that failed or reached its ceiling, while its schedule has retries left.
-- @keys schedules
-- @include putback
local function retry(turn, session, ended_as)
  local schedule = turn.schedule_id and not session.unwanted and read(K.schedules, turn.schedule_id)
  local allowed, used = schedule and schedule.retries or 0, (turn.retries or 0) + 1
  if used > allowed then return false end
  turn.retries = used
  return put_back(turn, session, 'retry', backoff(used), {
    limit_count = allowed, measured_count = used, setting = 'schedule.retries', ended_as = ended_as,
  })
end
