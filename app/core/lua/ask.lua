-- Asks a live session to checkpoint or to cancel by an absolute deadline; asked once, kept.
-- With mechanism cancel or overlap nobody wants the turn any more: however the session ends, it does
-- not return to its lane. deadline_ms names the deadline, or within_ms counts from now.
-- @args kind within_ms deadline_ms mechanism reason limit_ms setting measured_ms measured_count
-- @returns {"asked" | "replayed", deadline ms}
-- @returns refused: session_not_found, stale_fence
-- @include full held directives
let_through()
local session, refusal = held(A.kind)
if not session then return refusal end
local asked, by = A.kind .. '_asked_at', A.kind .. '_by'
local is_unwanted = A.mechanism == 'cancel' or A.mechanism == 'overlap'
if A.kind == 'cancel' and is_unwanted and not session.unwanted then
  session.unwanted = true
  keep(session)
end
if session[asked] then return {'replayed', session[by]} end
session[asked], session[A.kind .. '_reason'], session[A.kind .. '_mechanism'] = NOW, A.reason, A.mechanism
session[by] = number(A.deadline_ms) or NOW + tonumber(A.within_ms)
local turn = read(K.turns, session.turn_id)
if A.kind == 'checkpoint' and move(turn, 'checkpointing') then session.state = 'checkpointing' end
keep(session)
local fires = number(A.measured_count) -- of one schedule at once, where that is the limit
emit(A.kind == 'checkpoint' and 'SESSION_CHECKPOINT_REQUESTED' or 'SESSION_CANCEL_REQUESTED', turn, session, {
  deadline_at = session[by], reason = A.reason, limit_ms = number(A.limit_ms),
  limit_count = fires and 1, measured_count = fires,
  setting = A.setting ~= '' and A.setting or nil,
  measured_ms = number(A.measured_ms) or not fires and NOW - session.claimed_at or nil,
}, A.mechanism)
return {'asked', session[by]}
