-- What the end of a fire's turn means for its schedule: its runs, its failures in a row.
-- @keys run_counts schedules due
-- @include turn
local FAILED = {failed = true, force_idled = true, dead = true}

-- Pauses a schedule whose fires ended badly too often in a row; a good end starts the count again.
local function judge_schedule(turn, session)
  local field, schedule = turn.schedule_id .. ':failures', read(K.schedules, turn.schedule_id)
  if not schedule or turn.state == 'completed' or turn.state == 'yielded' then
    redis.call('HDEL', K.tallies, field)
    return
  end
  if not FAILED[turn.state] then return end
  local count, limit = redis.call('HINCRBY', K.tallies, field, 1), schedule.pause_on_failure_count or 0
  if limit == 0 or count < limit or not schedule.enabled then return end
  schedule.enabled, schedule.version, schedule.updated_at = false, schedule.version + 1, NOW
  schedule.paused_reason = string.format(
    '%.0f fires in a row ended failed, force-idled or dead (the last %s); pause_on_failure_count is %.0f',
    count, turn.state, limit)
  redis.call('HSET', K.schedules, turn.schedule_id, cjson.encode(schedule))
  -- What is due already is still made or accounted as missed, by whoever makes fires (fire.lua).
  if (number(redis.call('ZSCORE', K.due, turn.schedule_id)) or 0) > NOW then
    redis.call('ZREM', K.due, turn.schedule_id)
  end
  emit('LIMIT_HIT', turn, session, {
    limit_count = limit, measured_count = count, setting = 'schedule.pause_on_failure_count',
    schedule_id = turn.schedule_id,
  }, 'pause_on_failure')
end

local function cron_event(turn, session)
  if not turn.schedule_id then return end
  if session and session.started_at then redis.call('HINCRBY', K.run_counts, turn.schedule_id, 1) end
  emit('CRON_EXECUTED', turn, session, {
    schedule_id = turn.schedule_id, nominal_at = turn.nominal_at, state = turn.state,
  }, turn.mechanism)
  judge_schedule(turn, session)
end
