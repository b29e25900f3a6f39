-- Records what a claimed session is given; with inbox=1 lays it out for the runtime's poll.
-- @args bound inbox facts
-- @returns {"ok"}
-- @returns refused: session_not_found, stale_fence
-- @include held
local session, refusal = held('bind')
if not session then return refusal end
for name, value in pairs(cjson.decode(A.facts)) do session[name] = value end
keep(session)
redis.call('HSET', K.bound, session.id, A.bound)
if A.inbox == '1' and not session.started_at then
  redis.call('ZADD', K.inbox, 'NX', session.fence, session.id)
  redis.call('PUBLISH', K.wake, 'inbox')
end
return {'ok'}
