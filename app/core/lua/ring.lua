-- Puts a workspace in the ready set, once however often it is rung.
-- @keys ready rings dispatchers
-- @args workspace_id
-- @returns {"rung" | "waiting", dispatchers alive}
-- @include base
redis.call('ZREMRANGEBYSCORE', K.dispatchers, '-inf', NOW)
local alive = redis.call('ZCARD', K.dispatchers)
if redis.call('ZSCORE', K.ready, A.workspace_id) then return {'waiting', alive} end
redis.call('ZADD', K.ready, redis.call('INCR', K.rings), A.workspace_id)
return {'rung', alive}
