-- The last heartbeat is older than it should be, the capacity key still lives: degraded.
-- @keys capacity workspace
-- @args heartbeat_late_ms
-- @returns {"late" | "beating" | "silent" | "was"}
-- @include full event
local at = number(redis.call('HGET', K.capacity, 'at'))
if not at then return {'silent'} end
local limit = tonumber(A.heartbeat_late_ms)
if NOW - at < limit then return {'beating'} end
if redis.call('HGET', K.workspace, 'status') ~= 'online' then return {'was'} end
let_through()
redis.call('HSET', K.workspace, 'status', 'degraded', 'is_late', 1)
emit('WORKSPACE_DEGRADED', nil, nil, {
  was = 'online', limit_ms = limit, measured_ms = NOW - at, setting = 'TURNKEEPER_HEARTBEAT_LATE_S',
}, 'heartbeat_late')
return {'late'}
