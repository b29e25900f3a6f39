-- The work advanced (moves the stall clock), or a tool still runs (keepalive: only the idle clock).
-- @args kind payload instance
-- @returns {"ok", within so many ms a clock may run out that did not run before (else 0), directive…}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full held directives
let_through()
local session, refusal = held('progress')
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
local is_new = not session.started_at or session.stalled_at and A.kind ~= 'keepalive'
if not begin(session, turn, A.instance) then return refuse('illegal_transition', {state = turn.state}) end
session.seen_at = NOW
local keepalive = A.kind == 'keepalive'
if not keepalive then session.progress_at, session.stalled_at = NOW, nil end
keep(session)
emit(keepalive and 'TURN_KEEPALIVE' or 'TURN_PROGRESS', turn, session, A.payload)
return {'ok', is_new and soonest(session) or 0, unpack(directives(session))}
