-- Records what a claimed session is given; with inbox=1 lays it out for the runtime's poll.
-- limits: [[mechanism, event payload], …] of what was cut on the way.
-- @args bound inbox facts limits
-- @returns {"ok"}
-- @returns refused: session_not_found, stale_fence
-- @include held
local session, refusal = held('bind')
if not session then return refusal end
for name, value in pairs(cjson.decode(A.facts)) do session[name] = value end
keep(session)
redis.call('HSET', K.bound, session.id, A.bound)
local turn = {id = session.turn_id}
for _, hit in ipairs(cjson.decode(A.limits)) do emit('LIMIT_HIT', turn, session, hit[2], hit[1]) end
if A.inbox == '1' and not session.started_at then
  redis.call('ZADD', K.inbox, 'NX', session.fence, session.id)
  redis.call('PUBLISH', K.wake, 'inbox')
end
return {'ok'}
