-- Has the reaper look at a workspace within so long; an earlier look stands.
-- @keys deadlines
-- @args workspace_id within_ms
-- @returns {"ok"}
-- @include base
local stands = redis.call('ZSCORE', K.deadlines, A.workspace_id)
local at = NOW + tonumber(A.within_ms)
if stands and tonumber(stands) <= at then return {'ok'} end
redis.call('ZREM', K.deadlines, A.workspace_id) -- a full Redis lets pass what begins by taking away
redis.call('ZADD', K.deadlines, at, A.workspace_id)
return {'ok'}
