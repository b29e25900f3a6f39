-- Ends a turn that has waited longer than its time to live; whether it did.
-- @include turn
local function lapse(turn)
  if not turn.expires_at or turn.expires_at > NOW then return false end
  move(turn, 'expired', 'ttl')
  emit('TURN_EXPIRED', turn, nil, {
    expired_at = turn.expires_at, limit_ms = turn.expires_at - turn.accepted_at,
    measured_ms = NOW - turn.accepted_at, setting = turn.expires_setting or 'expires_in_seconds',
  }, 'ttl')
  return true
end
