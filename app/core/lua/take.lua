-- Hands the oldest bound session to a runtime's poll. One that was handed out but never started
-- is handed out again after a while: the reply that carried it may have been lost.
-- @args instance redeliver_after_ms
-- @returns {"taken", session, turn, body, bound, wake at ms} | {"empty", "", "", "", "", wake at ms}
-- @include session
local wake = 0
for _, id in ipairs(redis.call('ZRANGE', K.inbox, 0, 15)) do
  local session = read(K.sessions, id)
  local again = session.taken_at and session.taken_at + tonumber(A.redeliver_after_ms) or 0
  if again <= NOW then
    local turn = read(K.turns, session.turn_id)
    session.taken_at, session.taken_by = NOW, A.instance
    if session.state == 'claimed' and move(turn, 'delivered') then
      session.state, session.delivered_at, session.seen_at = 'delivered', NOW, NOW
      emit('TURN_DELIVERED', turn, session, {
        attempt = session.attempt, since_claim_ms = NOW - session.claimed_at,
      })
    end
    keep(session)
    return {'taken', cjson.encode(session), cjson.encode(turn), redis.call('HGET', K.bodies, turn.id) or '',
      redis.call('HGET', K.bound, id) or '', 0}
  end
  wake = wake == 0 and again or math.min(wake, again)
end
return {'empty', '', '', '', '', wake}
