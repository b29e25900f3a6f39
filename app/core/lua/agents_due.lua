-- Takes the workspaces whose agents are to be looked at now. What a worker took and did not look at
-- comes back after a while.
-- @keys agents
-- @args limit hold_ms
-- @returns {"ok", workspace id…}
-- @include base
local found = redis.call('ZRANGEBYSCORE', K.agents, '-inf', NOW, 'LIMIT', 0, A.limit)
for _, id in ipairs(found) do redis.call('ZADD', K.agents, NOW + tonumber(A.hold_ms), id) end
return {'ok', unpack(found)}
