-- Asks a live session to checkpoint or to cancel by an absolute deadline; asked once, kept.
-- With mechanism cancel the caller no longer wants the turn: however the session ends, it does not
-- return to its lane.
-- @args kind within_ms mechanism reason
-- @returns {"asked" | "replayed", deadline ms}
-- @returns refused: session_not_found, stale_fence
-- @include held directives
local session, refusal = held(A.kind)
if not session then return refusal end
local asked, by = A.kind .. '_asked_at', A.kind .. '_by'
if A.kind == 'cancel' and A.mechanism == 'cancel' and not session.unwanted then
  session.unwanted = true
  keep(session)
end
if session[asked] then return {'replayed', session[by]} end
session[asked], session[by], session[A.kind .. '_reason'] = NOW, NOW + tonumber(A.within_ms), A.reason
local turn = read(K.turns, session.turn_id)
if A.kind == 'checkpoint' and move(turn, 'checkpointing') then session.state = 'checkpointing' end
keep(session)
if A.kind == 'checkpoint' then
  emit('SESSION_CHECKPOINT_REQUESTED', turn, session, {
    deadline_at = session[by], reason = A.reason, elapsed_ms = NOW - session.claimed_at,
  }, A.mechanism)
else
  emit('TASK_UPDATED', turn, session, {
    asked = 'cancel', deadline_at = session[by], reason = A.reason,
  }, A.mechanism)
end
return {'asked', session[by]}
