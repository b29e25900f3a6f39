-- Has a worker look at a workspace's agent within so long; an earlier look stands, and one that is
-- due now wakes a worker that waits.
-- @keys agents agents_wake
-- @args workspace_id within_ms
-- @returns {"ok"}
-- @include base
local stands = redis.call('ZSCORE', K.agents, A.workspace_id)
local within_ms = tonumber(A.within_ms)
local at = NOW + within_ms
if not stands or tonumber(stands) > at then redis.call('ZADD', K.agents, at, A.workspace_id) end
if within_ms == 0 then
  redis.call('LPUSH', K.agents_wake, A.workspace_id)
  redis.call('LTRIM', K.agents_wake, 0, 99)
end
return {'ok'}
