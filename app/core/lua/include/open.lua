-- Opens a session for a chosen turn: a fence from the workspace's epoch, and its deadlines.
-- @args session_id ceiling_ms checkpoint_grace_ms cancel_grace_ms
-- @include session timing
local function own_ms(schedule, field)
  local seconds = schedule and schedule[field]
  return seconds and math.floor(seconds * 1000 + 0.5)
end

-- The schedule's own ceiling, else the workspace's, else the default (0: none), and whose it is.
local function ceiling_of(schedule, ws)
  local own = own_ms(schedule, 'ceiling_s')
  if own then return own, 'schedule.ceiling_s' end
  own = number(ws.ceiling_ms)
  if own then return own, 'workspace.ceiling_s' end
  return number(A.ceiling_ms), 'TURNKEEPER_CEILING_S'
end

-- a2a where the workspace's agent is behind a URL, unless a runtime that polls beats for it.
local function adapter(ws)
  if ws.adapter == 'runtime' or not ws.agent_url then return nil end
  if ws.adapter == 'a2a' then return 'a2a' end
  local beats = redis.call('HGET', K.capacity, 'instance')
  return (not beats or beats == '' or beats == 'probe') and 'a2a' or nil
end

-- `ws`: the workspace's own adapter, agent_url and ceiling_ms.
local function open(turn, schedule, ws)
  local ceiling, setting = ceiling_of(schedule, ws)
  turn.attempt, turn.session_id, turn.started_at = turn.attempt + 1, A.session_id, NOW
  if not move(turn, 'claimed') then return nil end
  local session = {
    id = A.session_id, turn_id = turn.id, fence = redis.call('HINCRBY', K.workspace, 'epoch', '1'),
    state = 'claimed', attempt = turn.attempt, lane = turn.lane, origin = turn.origin,
    schedule_id = turn.schedule_id, nominal_at = turn.nominal_at, claimed_at = NOW, seen_at = NOW,
    progress_at = NOW, ceiling_ms = ceiling,
    prompt_version = schedule and schedule.prompt_version, ceiling_setting = setting,
    adapter = adapter(ws),
    idle_ms = own_ms(schedule, 'idle_timeout_s'), stall_ms = own_ms(schedule, 'stall_after_s'),
    coalesced = turn.coalesced, coalesced_count = turn.coalesced_count,
  }
  if ceiling > 0 then
    session.ceiling_at = NOW + ceiling
    -- A ceiling shorter than its graces: half of it to work, the last tenth to be canceled in.
    session.checkpoint_at = session.ceiling_at - math.min(tonumber(A.checkpoint_grace_ms), math.floor(ceiling / 2))
    session.cancel_at = session.ceiling_at - math.min(tonumber(A.cancel_grace_ms), math.floor(ceiling / 10))
  end
  local text = keep(session)
  redis.call('ZADD', K.live, NOW_TEXT, session.id)
  if turn.attempt == 1 then observe('wait', NOW - turn.accepted_at) end
  emit('TURN_CLAIMED', turn, session, {
    lane = turn.lane, attempt = turn.attempt, waited_ms = NOW - turn.accepted_at, ceiling_ms = ceiling,
    coalesced = turn.coalesced, coalesced_count = turn.coalesced_count,
  })
  return session, text
end
