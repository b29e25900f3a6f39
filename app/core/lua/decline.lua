-- The agent declines its turn for now: it is busy, limits its rate, or no slot is free to hold its
-- answer. The turn goes back to the front of its lane, no attempt is used, and the workspace pauses:
-- longer each time, never shorter than the agent said.
-- @args mechanism reason retry_after_ms facts
-- @returns {"ok" | "replayed", turn state, wake at ms, runnable 0|1}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full returned
local repeated = was_given_back()
if repeated then return repeated end
let_through()
local session, refusal = held('decline')
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
local facts = A.facts ~= '' and cjson.decode(A.facts) or nil
turn.declines = (turn.declines or 0) + 1
local pause = math.max(backoff(turn.declines), tonumber(A.retry_after_ms))
if session.unwanted then
  if not give_back(turn, session, A.mechanism) then return refuse('illegal_transition', {state = turn.state}) end
else
  if facts then emit('LIMIT_HIT', turn, session, A.facts, A.mechanism) end
  local told = facts or {}
  told.reason = A.reason
  if not put_back(turn, session, A.mechanism, pause, told) then
    return refuse('illegal_transition', {state = turn.state})
  end
  hold(turn.not_before, A.mechanism)
end
session.released = true
close(session, turn, A.mechanism, {reason = A.reason})
return given_back('ok', turn.state, turn)
