-- The capacity key has expired: the workspace is offline. Running work is left alone.
-- @keys capacity workspace
-- @args heartbeat_ttl_ms
-- @returns {"offline" | "beating" | "was"}
-- @include full event
if redis.call('EXISTS', K.capacity) == 1 then return {'beating'} end
local ws = redis.call('HMGET', K.workspace, 'status', 'beat_at')
if ws[1] ~= 'online' and ws[1] ~= 'degraded' then return {'was'} end
let_through()
redis.call('HSET', K.workspace, 'status', 'offline')
emit('WORKSPACE_OFFLINE', nil, nil, {
  limit_ms = tonumber(A.heartbeat_ttl_ms), setting = 'TURNKEEPER_HEARTBEAT_TTL_S',
  measured_ms = NOW - (number(ws[2]) or NOW), was = ws[1],
}, 'heartbeat_ttl')
return {'offline'}
