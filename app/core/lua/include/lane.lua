-- What waits in a workspace's lanes: counting, adding, taking out before a claim.
-- @keys lanes returned delayed
-- @include turn
local function waiting()
  local total = redis.call('ZCARD', K.returned) + redis.call('ZCARD', K.delayed)
  local counts = redis.call('HMGET', K.lanes, 'parked', unpack(LANES))
  for at = 1, #LANES + 1 do total = total + (tonumber(counts[at] or 0)) end
  table.remove(counts, 1)
  return total, counts
end

local function entry_ms(entry) return tonumber(string.match(entry, '^%d+')) end

-- The first never-claimed entry of a lane, behind the last that was: id and fields, or nil.
local function head(lane, last)
  local found = redis.call('XRANGE', stream_of(lane), last and '(' .. last or '-', '+', 'COUNT', '1')
  if found and found[1] then return found[1][1], found[1][2] end
  return nil
end

-- When the oldest waiting turn was accepted, in ms; nil where nothing waits in the streams.
local function oldest_at(counts)
  local oldest = nil
  for at, lane in ipairs(LANES) do
    if tonumber(counts[at] or 0) > 0 then
      local entry = head(lane, redis.call('HGET', K.lanes, 'last:' .. lane))
      local ms = entry and entry_ms(entry)
      if ms and (not oldest or ms < oldest) then oldest = ms end
    end
  end
  return oldest
end

-- Writes an accepted turn and puts it at the end of its lane.
local function enqueue(turn, body)
  local lane = stream_of(turn.lane)
  turn.seq = redis.call('HINCRBY', K.workspace, 'turn_seq', '1')
  local entry = {lane, 'NOMKSTREAM', '*', 'turn', turn.id, 'max_wait_ms', turn.max_wait_ms}
  turn.entry = redis.call('XADD', unpack(entry))
  if not turn.entry then -- the first of its lane
    redis.call('XGROUP', 'CREATE', lane, GROUP, '0', 'MKSTREAM')
    turn.entry = redis.call('XADD', unpack(entry))
  end
  turn.state, turn.state_at, turn.accepted_at = 'queued', NOW, NOW
  turn.attempt, turn.losses = 0, 0
  redis.call('HINCRBY', K.lanes, turn.lane, '1')
  redis.call('HSET', K.bodies, turn.id, body)
  redis.call('ZADD', K.open, turn.seq, turn.id)
  expire_later(turn)
  save(turn)
  if turn.schedule_id then redis.call('ZADD', K.fires_waiting, 0, place_of(turn)) end
end

-- Takes a queued turn out of whatever it waits in; whether that was its lane's stream.
local function unqueue(turn)
  if redis.call('ZREM', K.returned, turn.id) + redis.call('ZREM', K.delayed, turn.id) > 0 then return false end
  local is_parked = turn.schedule_id and redis.call('ZREM', K.parked, place_of(turn)) == 1
  redis.call('HINCRBY', K.lanes, is_parked and 'parked' or turn.lane, -1)
  return not is_parked
end
