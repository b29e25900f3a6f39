-- Tells a workspace that a store it shares has changed, once for each change however often it is
-- called: the highest sequence number told is kept. Several changes may be told as one.
-- @keys workspace policy
-- @args store scope team memory_seq payload
-- @returns {"told" | "known" | "elsewhere"}
-- @include event
local ws = redis.call('HMGET', K.workspace, 'status', 'team')
if not ws[1] or ws[1] == 'removed' then return {'elsewhere'} end
if A.team ~= '' and ws[2] ~= A.team then return {'elsewhere'} end
local field = 'told:' .. A.store
local told = number(redis.call('HGET', K.policy, field)) or 0
if told >= tonumber(A.memory_seq) then return {'known'} end
redis.call('HSET', K.policy, field, A.memory_seq)
local payload = cjson.decode(A.payload)
payload.scope, payload.team = A.scope, A.team ~= '' and A.team or nil
payload.memory_seq, payload.changes_count = tonumber(A.memory_seq), tonumber(A.memory_seq) - told
emit('POLICY_CHANGED', nil, payload.session_id and {id = payload.session_id} or nil, payload)
return {'told'}
