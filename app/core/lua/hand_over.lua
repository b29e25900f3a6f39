-- Hands a claimed turn to an agent that begins at once: what bind, deliver and start do, in one step.
-- Nobody ever sees the turn delivered and not begun, so it is written once; both events tell of it.
-- @returns {"ok" | "replayed", within so many ms a clock may run out, directive…}
-- @returns refused: session_not_found, stale_fence, started_elsewhere, illegal_transition
-- @include full held given begun
let_through()
local session, refusal = held('hand_over')
if not session then return refusal end
if session.started_at then return begun(session) end
local turn = read(K.turns, session.turn_id)
if not allows(turn.state, 'running') then return refuse('illegal_transition', {state = turn.state}) end
record(session)
if session.state == 'claimed' then
  session.state, session.delivered_at, session.seen_at = 'delivered', NOW, NOW
  emit('TURN_DELIVERED', turn, session, {attempt = session.attempt, since_claim_ms = NOW - session.claimed_at})
end
begin(session, turn, A.instance)
return {'ok', soonest(session), unpack(directives(session))}
