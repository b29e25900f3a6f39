-- The holder gives a session back: its turn returns to the front of its lane.
-- With counts=1 (the delivery failed, the work was lost) an attempt is used and a pause follows;
-- with holds=1 the whole workspace pauses (its agent cannot be reached).
-- @args mechanism reason counts holds
-- @returns {"ok" | "replayed", turn state, wake at ms, runnable 0|1}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full returned
local repeated = was_given_back()
if repeated then return repeated end
let_through()
local session, refusal = held('release')
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
if not give_back(turn, session, A.mechanism, A.counts == '1', A.holds == '1') then
  return refuse('illegal_transition', {state = turn.state})
end
session.released = true
close(session, turn, A.mechanism, {reason = A.reason})
return given_back('ok', turn.state, turn)
