-- Takes the workspaces whose deadline has come. What a reaper took and did not settle comes back.
-- @keys deadlines deadlines_taken
-- @args limit hold_ms
-- @returns {"ok", workspace id…}
-- @include base
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.deadlines_taken, '-inf', NOW, 'LIMIT', 0, A.limit)) do
  redis.call('ZREM', K.deadlines_taken, id)
  redis.call('ZADD', K.deadlines, NOW, id)
end
local found = redis.call('ZRANGEBYSCORE', K.deadlines, '-inf', NOW, 'LIMIT', 0, A.limit)
for _, id in ipairs(found) do
  redis.call('ZREM', K.deadlines, id)
  redis.call('ZADD', K.deadlines_taken, NOW + tonumber(A.hold_ms), id)
end
return {'ok', unpack(found)}
