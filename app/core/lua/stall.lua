-- Marks a session without progress, once until it progresses again. It is not ended.
-- @args session_id fence limit_ms setting
-- @returns {"stalled" | "moving"}
-- @include session
local session = read(K.sessions, A.session_id)
if not session or session.ended_at or session.fence ~= number(A.fence) then return {'moving'} end
local measured = NOW - session.progress_at
if not session.started_at or session.stalled_at or measured < tonumber(A.limit_ms) then return {'moving'} end
session.stalled_at = NOW
keep(session)
emit('TURN_STALLED', {id = session.turn_id}, session, {
  limit_ms = tonumber(A.limit_ms), measured_ms = measured, setting = A.setting,
}, 'stall')
return {'stalled'}
