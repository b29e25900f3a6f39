-- Whether a taken turn runs now: a fire by its overlap policy, as that stands at this claim.
-- @include coalesce session
local NEWEST_ONLY = {buffer_one = true, cancel_other = true, terminate_other = true}
local ENDS_OTHER = {cancel_other = true, terminate_other = true}

-- Due while an earlier fire was unfinished: it does not run.
local function skip(turn, other)
  turn.behind = {turn_id = other.turn_id or other.id, nominal_at = other.nominal_at}
  local facts = {
    schedule_id = turn.schedule_id, nominal_at = turn.nominal_at, behind = turn.behind.turn_id,
    reason = 'it came due before the fire of turn ' .. turn.behind.turn_id .. ' had ended',
    behind_nominal_at = other.nominal_at, limit_count = 1, measured_count = 2, setting = setting_of(turn),
  }
  move(turn, 'skipped', 'overlap', facts)
  emit('CRON_SKIPPED', turn, nil, facts, 'overlap')
end

-- A lost fire, taken out of its lane, is not tried again: a newer one of its schedule ends it.
local function give_way(turn, by)
  local facts = {state = 'canceled', reason = 'a newer fire of its schedule waits',
    limit_count = 1, measured_count = 2, setting = setting_of(by)}
  move(turn, 'canceled', 'overlap', facts)
  emit('TASK_UPDATED', turn, nil, facts, 'overlap')
  cron_event(turn)
end

-- The turn to run, and its schedule: this one, or the newest fire in its stead; nil: none of them.
-- A fire that was let run once goes on beside others; new ones wait for it, so nobody waits in a ring.
local function admit(turn)
  if lapse(turn) then return nil end
  local schedule = turn.schedule_id and read(K.schedules, turn.schedule_id)
  if not schedule then return turn end
  local policy = turn.overlap_policy or schedule.overlap_policy
  if turn.attempt > 0 then
    local low, high = range(group_of(turn))
    if not ENDS_OTHER[policy] or redis.call('ZLEXCOUNT', K.fires_waiting, low, high) == 0 then return turn, schedule end
    return give_way(turn, turn)
  end
  if policy == 'allow_all' then
    unpark(turn.schedule_id)
    return turn, schedule
  end
  local other, lost = unfinished(turn.schedule_id)
  for _, one in ipairs(lost) do
    if ENDS_OTHER[policy] and RANK[one.lane] >= RANK[turn.lane] then -- a backfill's ends no live fire
      unqueue(one)
      give_way(one, turn)
    else
      other = other or one
    end
  end
  if policy == 'skip' and not other then other = outlasted_by(turn) end
  if other and policy == 'skip' then return skip(turn, other) end
  if other then return park(turn) end
  if not NEWEST_ONLY[policy] then return turn, schedule end
  local run, is_more = newest(turn)
  if not is_more then return run, schedule end
  save(run)
  redis.call('ZADD', K.returned, RANK[run.lane] * 1e12 + run.seq, run.id)
end
