-- Cancels a turn that nobody has fetched: one that waits, or one whose session no agent has been
-- handed yet; that session ends too. What an agent has is canceled through its session (ask.lua).
-- @args turn_id reason
-- @returns {"canceled" | "replayed", runnable 0|1} | {"live", session id, fence} | {"ended", state}
-- @returns refused: turn_not_found
-- @include full giveback
local function done(outcome) return {outcome, waiting() > 0 and runnable() or 0} end

local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
if turn.state == 'canceled' then return done('replayed') end
if TERMINAL[turn.state] then return {'ended', turn.state} end
let_through()
local session
if turn.state == 'queued' then
  unqueue(turn)
elseif turn.state ~= 'input_required' then
  session = read(K.sessions, turn.session_id)
  if session.state ~= 'claimed' then return {'live', session.id, session.fence} end
end
move(turn, 'canceled', 'cancel')
emit('TASK_UPDATED', turn, session, {state = 'canceled', reason = A.reason}, 'cancel')
cron_event(turn, session)
if session then close(session, turn, 'cancel', {reason = A.reason}) end
return done('canceled')
