-- Ends a waiting turn whose time to live has passed.
-- @include session
local function run_out(turn)
  local facts = {
    expired_at = turn.expires_at, limit_ms = turn.expires_at - turn.accepted_at,
    measured_ms = NOW - turn.accepted_at, setting = turn.expires_setting or 'expires_in_seconds',
  }
  move(turn, 'expired', 'ttl', facts)
  emit('TURN_EXPIRED', turn, nil, facts, 'ttl')
  cron_event(turn)
end

-- Ends it if that time has passed; whether it did.
local function lapse(turn)
  if not expires(turn) or turn.expires_at > NOW then return false end
  run_out(turn)
  return true
end
