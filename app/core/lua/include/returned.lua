-- The answer to a holder who gives its session back, the first time and when the call is repeated.
-- @args session_id fence
-- @include held giveback
local function given_back(outcome, state, turn)
  return {outcome, state, turn and turn.state == 'queued' and turn.not_before or 0, runnable()}
end

-- nil where nobody of this fence has given it back yet.
local function was_given_back()
  local gone = read(K.sessions, A.session_id)
  if not gone or not gone.released or gone.fence ~= number(A.fence) then return nil end
  return given_back('replayed', gone.turn_state, read(K.turns, gone.turn_id))
end
