-- The holder gives a session back: its turn returns to the front of its lane.
-- With counts=1 (the delivery failed, the work was lost) an attempt is used and a pause follows;
-- with holds=1 the whole workspace pauses (its agent cannot be reached).
-- @args mechanism reason counts holds
-- @returns {"ok" | "replayed", turn state, wake at ms, runnable 0|1}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full held giveback
local gone = read(K.sessions, A.session_id)
if gone and gone.released and gone.fence == number(A.fence) then
  local back = read(K.turns, gone.turn_id)
  return {'replayed', gone.turn_state, back and back.state == 'queued' and back.not_before or 0, runnable()}
end
let_through()
local session, refusal = held('release')
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
if not give_back(turn, session, A.mechanism, A.counts == '1', A.holds == '1') then
  return refuse('illegal_transition', {state = turn.state})
end
session.released = true
close(session, turn, A.mechanism, {reason = A.reason})
return {'ok', turn.state, turn.state == 'queued' and turn.not_before or 0, runnable()}
