-- Notes that the agent has been handed its turn.
-- An agent that held its answer may name the remote task after it was seen to have begun.
-- @args remote remote_context
-- @returns {"ok" | "replayed"}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full held
let_through()
local session, refusal = held('deliver')
if not session then return refusal end
local names = A.remote ~= '' and not session.remote
if names then session.remote, session.remote_context = A.remote, A.remote_context end
if session.state ~= 'claimed' then
  if names then keep(session) end
  return {'replayed'}
end
local turn = read(K.turns, session.turn_id)
if not move(turn, 'delivered') then return refuse('illegal_transition', {state = turn.state}) end
session.state, session.delivered_at, session.seen_at = 'delivered', NOW, NOW
keep(session)
emit('TURN_DELIVERED', turn, session, {attempt = session.attempt, since_claim_ms = NOW - session.claimed_at})
return {'ok'}
