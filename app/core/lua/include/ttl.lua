-- Ends a waiting turn whose time to live has passed.
-- @include session
local function end_expired(turn, facts)
  move(turn, 'expired', 'ttl', facts)
  emit('TURN_EXPIRED', turn, nil, facts, 'ttl')
  cron_event(turn)
end

local function run_out(turn)
  end_expired(turn, {
    expired_at = turn.expires_at, limit_ms = turn.expires_at - turn.accepted_at,
    measured_ms = NOW - turn.accepted_at, setting = turn.expires_setting or 'expires_in_seconds',
  })
end
