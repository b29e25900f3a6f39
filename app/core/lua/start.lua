-- The agent has begun. A repeat by the same runtime changes nothing. A session that its own
-- progress began, before anybody said start, belongs to who says it first.
-- @returns {"ok" | "replayed", within so many ms a clock may run out, directive…}
-- @returns refused: session_not_found, stale_fence, started_elsewhere, illegal_transition
-- @include full held begun
let_through()
local session, refusal = held('start')
if not session then return refusal end
if session.started_at then return begun(session) end
local turn = read(K.turns, session.turn_id)
if not begin(session, turn, A.instance) then return refuse('illegal_transition', {state = turn.state}) end
return {'ok', soonest(session), unpack(directives(session))}
