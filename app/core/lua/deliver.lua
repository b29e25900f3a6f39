-- Notes that the agent has been handed its turn.
-- @args remote
-- @returns {"ok" | "replayed"}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include held
local session, refusal = held('deliver')
if not session then return refusal end
if session.state ~= 'claimed' then return {'replayed'} end
local turn = read(K.turns, session.turn_id)
if not move(turn, 'delivered') then return refuse('illegal_transition', {state = turn.state}) end
session.state, session.delivered_at, session.seen_at = 'delivered', NOW, NOW
if A.remote ~= '' then session.remote = A.remote end
keep(session)
emit('TURN_DELIVERED', turn, session, {attempt = session.attempt, since_claim_ms = NOW - session.claimed_at})
return {'ok'}
