-- The fires of a schedule: which wait, which are unfinished, which are parked behind those.
-- @keys fires_waiting fires_unfinished parked last_runs returned lanes
-- @include event
-- They sort by schedule, policy of their own, lane and age: a range is a schedule, or one group.
local function group_of(turn)
  return turn.schedule_id .. '|' .. (turn.overlap_policy or '') .. '|' .. turn.lane
end

local function place_of(turn) return group_of(turn) .. string.format('|%012.0f|', turn.seq) .. turn.id end

local function range(group) return '[' .. group .. '|', '(' .. group .. '}' end

local function at_place(place)
  local lane, seq, id = string.match(place, '|([a-z]+)|(%d+)|(.*)$')
  return id, lane, tonumber(seq)
end

-- Takes a claimed entry's fire off the lanes until the one in its way has ended.
local function park(turn)
  redis.call('HINCRBY', K.lanes, 'parked', redis.call('ZADD', K.parked, 0, place_of(turn)))
end

-- The oldest parked fire of each group of a schedule may be claimed again, in its old place; which of
-- them is first, the claim says. Each fire that ends, or is let run beside others, wakes the next.
local function unpark(schedule_id)
  local low, high = range(schedule_id)
  while true do
    local first = redis.call('ZRANGEBYLEX', K.parked, low, high, 'LIMIT', 0, 1)[1]
    if not first then return end
    local id, lane, seq = at_place(first)
    redis.call('ZREM', K.parked, first)
    redis.call('HINCRBY', K.lanes, 'parked', -1)
    redis.call('ZADD', K.returned, RANK[lane] * 1e12 + seq, id)
    low = '(' .. string.match(first, '^[^|]*|[^|]*|[^|]*') .. '}'
  end
end

-- Keeps the indexes in step with a fire's move. Unfinished: live, or lost and waiting again.
local function follow(turn, was)
  if was == 'queued' then redis.call('ZREM', K.fires_waiting, place_of(turn)) end
  if turn.state == 'running' then return end
  if turn.state == 'claimed' or turn.state == 'queued' then
    redis.call('HSET', K.fires_unfinished, turn.id, turn.schedule_id)
    if turn.state == 'queued' then unpark(turn.schedule_id) end -- it may end one that only waits
  elseif TERMINAL[turn.state] or turn.state == 'input_required' then
    if redis.call('HDEL', K.fires_unfinished, turn.id) == 1 and turn.begun_at then
      redis.call('HSET', K.last_runs, turn.schedule_id, cjson.encode({
        ended_at = NOW, turn_id = turn.id, nominal_at = turn.nominal_at,
      }))
    end
    unpark(turn.schedule_id)
  end
end
