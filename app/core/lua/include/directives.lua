-- What a session is asked to do; each directive names its session and fence, so it reaches no
-- other. A heartbeat's answer repeats them all; a poll (is_poll) carries each once.
-- @keys workspace
-- @args idle_default_ms stall_default_ms
-- @include session
local function directives(session, is_poll)
  local list = {}
  local function add(kind, asked, deadline, reason)
    if asked and not (is_poll and session['told_' .. kind]) then
      if is_poll then
        session['told_' .. kind] = true
        keep(session)
      end
      list[#list + 1] = cjson.encode({
        type = kind, session_id = session.id, fence = session.fence,
        deadline_at = deadline, reason = reason or kind,
      })
    end
  end
  if session.ended_at then
    add('terminate', session.mechanism ~= 'finish', session.ended_at, session.mechanism)
  else
    add('checkpoint', session.checkpoint_asked_at, session.checkpoint_by, session.checkpoint_reason)
    add('cancel', session.cancel_asked_at, session.cancel_by, session.cancel_reason)
  end
  return list
end

-- In how many ms a clock of a running session may run out, if it is silent from now on; 0: none.
local function soonest(session)
  local ws = redis.call('HMGET', K.workspace, 'idle_ms', 'beat_idle_ms', 'stall_ms')
  local idle = session.idle_ms or number(ws[1]) or number(ws[2]) or tonumber(A.idle_default_ms)
  local stall = session.stall_ms or number(ws[3]) or tonumber(A.stall_default_ms)
  if idle == 0 or stall == 0 then return math.max(idle, stall) end
  return math.min(idle, stall)
end

local function begin(session, turn, instance)
  if session.state ~= 'claimed' and session.state ~= 'delivered' then return true end
  turn.begun_at = turn.begun_at or NOW
  if not move(turn, 'running') then return false end
  session.state, session.started_at, session.instance = 'running', NOW, instance
  session.seen_at, session.progress_at = NOW, NOW
  redis.call('ZREM', K.inbox, session.id)
  keep(session)
  emit('SESSION_STARTED', turn, session, {
    attempt = session.attempt, origin = session.origin, ceiling_ms = session.ceiling_ms,
    schedule_id = session.schedule_id, since_claim_ms = NOW - session.claimed_at,
  })
  return true
end
