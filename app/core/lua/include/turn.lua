-- Moves turns between states by the table, keeps the cron ledger in step, settles the ended.
-- @keys turns bodies results open done dead expiring changed
-- @keys lane_urgent lane_chat lane_task lane_cron lane_info
-- @include fires row forget filing
local GROUP = 'turnkeeper'

local function stream_of(lane)
  return lane == 'urgent' and K.lane_urgent or lane == 'chat' and K.lane_chat or lane == 'task' and K.lane_task
    or lane == 'cron' and K.lane_cron or K.lane_info
end

local saved_text -- the record written last

local function save(turn)
  if turn.schedule_id then write_row(turn) end
  saved_text = cjson.encode(turn)
  redis.call('HSET', K.turns, turn.id, saved_text)
  redis.call('ZADD', K.changed, turn.state_at == NOW and NOW_TEXT or turn.state_at, turn.id)
end

-- Whether a turn's time to live still counts: what has begun once is never expired.
local function expires(turn) return turn.expires_at and not turn.begun_at end

-- Has the reaper's next look find a waiting turn when its time to live has passed.
local function expire_later(turn)
  if turn.state == 'queued' and expires(turn) then
    redis.call('ZADD', K.expiring, turn.expires_at, turn.id)
  elseif turn.expires_at then
    redis.call('ZREM', K.expiring, turn.id)
  end
end

local function allows(state, to) return string.find(ALLOWED[state], ' ' .. to .. ' ', 1, true) end

-- Moves and saves; false where the table does not allow it. An ended turn leaves its lane.
-- `facts`: limit, setting and measured value of what moved it.
local function move(turn, to, mechanism, facts)
  if not allows(turn.state, to) then return false end
  local was = turn.state
  turn.state, turn.state_at, turn.mechanism, turn.facts = to, NOW, mechanism, limits_of(facts)
  if TERMINAL[to] then
    turn.ended_at = NOW
    redis.call('XACK', stream_of(turn.lane), GROUP, turn.entry)
    redis.call('XDEL', stream_of(turn.lane), turn.entry)
    redis.call('ZREM', K.open, turn.id)
    file(to == 'dead' and K.dead or K.done, turn.id)
  end
  expire_later(turn)
  save(turn)
  if turn.schedule_id then follow(turn, was) end
  if TERMINAL[to] then forget_oldest() end
  return true
end
