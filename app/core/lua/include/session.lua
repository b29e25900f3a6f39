-- Keeping and ending sessions.
-- @keys sessions live ended inbox zombies bound workspace notes
-- @include lane room cron timing filing
local function keep(session)
  local text = cjson.encode(session)
  redis.call('HSET', K.sessions, session.id, text)
  return text
end

-- Ends a session and frees its slot. `facts`: limit, setting and measured value of what ended it.
local function close(session, turn, mechanism, facts)
  session.state, session.ended_at, session.mechanism = 'ended', NOW, mechanism
  session.turn_state, session.tokens = turn.state, nil -- nobody comes again in its name
  keep(session)
  redis.call('ZREM', K.live, session.id)
  redis.call('ZREM', K.inbox, session.id)
  file(K.ended, session.id)
  local over = redis.call('ZCARD', K.ended) - 2 * tonumber(A.turns_kept)
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', K.ended, 0, math.min(over, 4) - 1)) do
      redis.call('ZREM', K.ended, id)
      redis.call('HDEL', K.sessions, id)
      redis.call('HDEL', K.bound, id)
    end
  end
  local payload = facts or {}
  payload.state, payload.duration_ms, payload.origin = turn.state, NOW - session.claimed_at, turn.origin
  if session.started_at then observe('session', payload.duration_ms) end
  emit('SESSION_ENDED', turn, session, payload, mechanism)
end

-- Where the last checkpoint note of a turn's kind lies; nil for a turn of no schedule and context.
local function note_place(turn)
  return turn.schedule_id and 'sch:' .. turn.schedule_id or turn.context_id and 'ctx:' .. turn.context_id
end
