-- Moves turns between states by the table, keeps the cron ledger in step, settles the ended.
-- @keys turns bodies results open done dead fires changed push
-- @keys lane_urgent lane_chat lane_task lane_cron lane_info
-- @args turns_kept turn_retention_ms
-- @include event
local GROUP = 'turnkeeper'

local function fire_of(turn) return turn.schedule_id .. ':' .. string.format('%.0f', turn.nominal_at) end

local function save(turn)
  redis.call('HSET', K.turns, turn.id, cjson.encode(turn))
  redis.call('ZADD', K.changed, turn.state_at, turn.id)
  if turn.schedule_id then
    redis.call('HSET', K.fires, fire_of(turn), cjson.encode({
      state = turn.state, turn_id = turn.id, at = turn.state_at, reason = turn.mechanism,
      session_id = turn.session_id, started_at = turn.started_at, origin = turn.fire_origin,
    }))
  end
end

local function forget_oldest()
  local function drop(id)
    local turn = read(K.turns, id)
    for _, config_id in ipairs(turn and turn.push or {}) do
      redis.call('HDEL', K.push, id .. ':' .. config_id)
    end
    redis.call('ZREM', K.changed, id)
    redis.call('HDEL', K.turns, id)
    redis.call('HDEL', K.bodies, id)
    redis.call('HDEL', K.results, id)
    redis.call('ZREM', K.done, id)
  end
  local over = redis.call('ZCARD', K.done) - tonumber(A.turns_kept)
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', K.done, 0, math.min(over, 4) - 1)) do drop(id) end
  else
    local stale = NOW - tonumber(A.turn_retention_ms)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.done, '-inf', stale, 'LIMIT', 0, 2)) do drop(id) end
  end
end

-- Moves and saves; false where the table does not allow it. An ended turn leaves its lane.
local function move(turn, to, mechanism)
  if not ALLOWED[turn.state][to] then return false end
  turn.state, turn.state_at, turn.mechanism = to, NOW, mechanism
  if TERMINAL[to] then
    turn.ended_at = NOW
    redis.call('XACK', K['lane_' .. turn.lane], GROUP, turn.entry)
    redis.call('XDEL', K['lane_' .. turn.lane], turn.entry)
    redis.call('ZREM', K.open, turn.id)
    redis.call('ZADD', to == 'dead' and K.dead or K.done, NOW, turn.id)
  end
  save(turn)
  if TERMINAL[to] then forget_oldest() end
  return true
end
