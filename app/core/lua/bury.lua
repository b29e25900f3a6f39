-- Forgets dead letters beyond their count, and those past their time, so many at a time; which limit
-- acted on how many is told.
-- @keys dead
-- @args dead_kept dead_retention_ms count
-- @returns {"ok", how many it forgot}
-- @include forget event
local most, total, age_ms = tonumber(A.count), redis.call('ZCARD', K.dead), tonumber(A.dead_retention_ms)
local over = math.min(total - tonumber(A.dead_kept), most)
if over > 0 then
  for _, id in ipairs(redis.call('ZRANGE', K.dead, 0, over - 1)) do forget(id, K.dead) end
  emit('LIMIT_HIT', nil, nil, {
    limit_count = tonumber(A.dead_kept), measured_count = total, setting = 'TURNKEEPER_DEAD_KEPT',
    forgotten_count = over,
  }, 'dead_kept')
  return {'ok', over}
end
local stale = {}
if age_ms > 0 then
  stale = redis.call('ZRANGEBYSCORE', K.dead, '-inf', NOW - age_ms, 'WITHSCORES', 'LIMIT', 0, most)
end
for at = 1, #stale, 2 do forget(stale[at], K.dead) end
if #stale > 0 then
  emit('LIMIT_HIT', nil, nil, {
    limit_ms = age_ms, measured_ms = NOW - tonumber(stale[2]), setting = 'TURNKEEPER_DEAD_RETENTION_S',
    forgotten_count = #stale / 2,
  }, 'dead_retention')
end
return {'ok', #stale / 2}
