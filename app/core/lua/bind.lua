-- Records what a claimed session is given; with inbox=1 lays it out for the runtime's poll.
-- limits: [[mechanism, event payload], …] of what was cut on the way.
-- @args inbox
-- @returns {"ok"}
-- @returns refused: session_not_found, stale_fence
-- @include held given
local session, refusal = held('bind')
if not session then return refusal end
record(session)
keep(session)
if A.inbox == '1' and not session.started_at then
  redis.call('ZADD', K.inbox, 'NX', session.fence, session.id)
  redis.call('PUBLISH', K.wake, 'inbox')
end
return {'ok'}
