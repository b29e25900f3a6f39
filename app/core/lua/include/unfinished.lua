-- What stands in the way of a fire: an earlier one of its schedule that has not ended.
-- @include lane
-- One that is live, and those that are lost and wait for their next attempt.
local function unfinished(schedule_id)
  local rows, live, lost = redis.call('HGETALL', K.fires_unfinished), nil, {}
  for at = 1, #rows, 2 do
    if rows[at + 1] == schedule_id then
      local other = read(K.turns, rows[at])
      if not other or TERMINAL[other.state] or other.state == 'input_required' then
        redis.call('HDEL', K.fires_unfinished, rows[at]) -- ended by a script of another version
      elseif other.state == 'queued' then
        lost[#lost + 1] = other
      else
        live = other
      end
    end
  end
  return live, lost
end

-- The last run of the schedule, if the fire came due before that had ended. A fire of the
-- schedule's times comes due at its nominal time, any other when it was accepted.
local function outlasted_by(turn)
  local last = read(K.last_runs, turn.schedule_id)
  local due_at = turn.fire_origin == 'make' and turn.nominal_at or turn.accepted_at
  return last and due_at < last.ended_at and last or nil
end

-- Wakes a parked fire whose schedule is free, whoever left it behind; whether there was one.
local function heal()
  if (number(redis.call('HGET', K.lanes, 'parked')) or 0) == 0 then return false end
  local from = '-'
  for _ = 0, redis.call('HLEN', K.fires_unfinished) do
    local first = redis.call('ZRANGEBYLEX', K.parked, from, '+', 'LIMIT', 0, 1)[1]
    if not first then return false end
    local schedule_id = string.match(first, '^[^|]+')
    local live, lost = unfinished(schedule_id)
    if not live and not lost[1] then
      unpark(schedule_id)
      return true
    end
    from = '(' .. schedule_id .. '}'
  end
  return false
end
