-- Cancels a turn that waits. A turn that runs is canceled through its session (ask.lua).
-- @args turn_id reason
-- @returns {"canceled" | "replayed"} | {"live", session id, fence} | {"ended", state}
-- @returns refused: turn_not_found
-- @include giveback
local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
if turn.state == 'canceled' then return {'replayed'} end
if TERMINAL[turn.state] then return {'ended', turn.state} end
if turn.state == 'queued' then
  unqueue(turn)
elseif turn.state ~= 'input_required' then
  return {'live', turn.session_id, read(K.sessions, turn.session_id).fence}
end
move(turn, 'canceled', 'cancel')
emit('TASK_UPDATED', turn, nil, {state = 'canceled', reason = A.reason}, 'cancel')
cron_event(turn)
return {'canceled'}
