-- Chooses the next turn of a workspace: strict priority with aging, first in first out in a lane.
-- @include lane
local SPAN = 1e12
local before -- how many waited when the last turn was chosen, that one included

-- Returned turns whose pause is over may be claimed again, before the newer ones of their lane.
local function wake_delayed()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.delayed, '-inf', NOW_TEXT, 'LIMIT', '0', '32')) do
    local turn = read(K.turns, id)
    redis.call('ZREM', K.delayed, id)
    if turn then redis.call('ZADD', K.returned, RANK[turn.lane] * SPAN + turn.seq, id) end
  end
end

-- The first turn of a lane: a returned one before the entries, since it was there first.
local function candidate(lane, fresh, last, any_back)
  local low = RANK[lane] * SPAN
  local back = any_back and redis.call('ZRANGEBYSCORE', K.returned, low, low + SPAN - 1, 'LIMIT', 0, 1)
  if back and back[1] then
    local turn = read(K.turns, back[1])
    return {lane = lane, id = turn.id, at = entry_ms(turn.entry), wait = turn.max_wait_ms, back = true}
  end
  if fresh < 1 then return nil end
  local entry, fields = head(lane, last)
  if not entry then return nil end
  return {lane = lane, id = fields[2], at = entry_ms(entry), wait = tonumber(fields[4]), entry = entry, fresh = fresh}
end

local function choose()
  local delayed_count = redis.call('ZCARD', K.delayed)
  if delayed_count > 0 then
    wake_delayed()
    delayed_count = redis.call('ZCARD', K.delayed)
  end
  local back_count, rows = redis.call('ZCARD', K.returned), redis.call('HMGET', K.lanes, unpack(LANE_FIELDS))
  local first, overdue
  before = delayed_count + back_count + (tonumber(rows[#LANE_FIELDS] or 0))
  for at, lane in ipairs(LANES) do
    local fresh = tonumber(rows[at] or 0)
    before = before + fresh
    local found = candidate(lane, fresh, rows[#LANES + at], back_count > 0)
    first = first or found
    if found and NOW - found.at > found.wait and (not overdue or found.at < overdue.at) then
      overdue = found
    end
  end
  return overdue or first
end

local function take(found)
  if found.back then
    redis.call('ZREM', K.returned, found.id)
  else
    redis.call('XREADGROUP', 'GROUP', GROUP, 'claim', 'COUNT', '1', 'STREAMS', stream_of(found.lane), '>')
    redis.call('HSET', K.lanes, 'last:' .. found.lane, found.entry, found.lane, string.format('%d', found.fresh - 1))
  end
  return read(K.turns, found.id)
end
