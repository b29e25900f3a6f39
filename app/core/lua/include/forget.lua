-- Forgets the oldest ended turns, by count and by age, with all that hangs on them.
-- @keys turns bodies results done changed push
-- @args turns_kept turn_retention_ms
-- @include base
local forgotten = {} -- by this call: turn id -> true

-- `set`: where the turn is filed.
local function forget(id, set)
  local turn = read(K.turns, id)
  for _, config_id in ipairs(turn and turn.push or {}) do
    redis.call('HDEL', K.push, id .. ':' .. config_id)
  end
  redis.call('ZREM', K.changed, id)
  redis.call('HDEL', K.turns, id)
  redis.call('HDEL', K.bodies, id)
  redis.call('HDEL', K.results, id)
  redis.call('ZREM', set, id)
  forgotten[id] = true
end

local function forget_oldest()
  local over = redis.call('ZCARD', K.done) - tonumber(A.turns_kept)
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', K.done, 0, math.min(over, 4) - 1)) do forget(id, K.done) end
  else
    local stale = NOW - tonumber(A.turn_retention_ms)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.done, '-inf', stale, 'LIMIT', 0, 2)) do
      forget(id, K.done)
    end
  end
end
