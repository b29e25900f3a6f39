-- Counts a push from the agent of a live session: whoever follows its task sees the count move, and
-- looks. What was pushed is not kept.
-- @keys sessions
-- @args session_id
-- @returns {"ok", pushes} | {"gone"}
-- @include full
local session = read(K.sessions, A.session_id)
if not session or session.ended_at then return {'gone'} end
let_through()
session.pushes = (session.pushes or 0) + 1
redis.call('HSET', K.sessions, session.id, cjson.encode(session))
return {'ok', session.pushes}
