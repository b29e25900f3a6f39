-- The rows of the cron ledger that no turn keeps in step: the index, and fires that made no turn.
-- @keys fire_index
-- @args schedule_id nominal_ms mode reason fires_kept
-- @include lane
local ROW = A.schedule_id .. ':' .. A.nominal_ms

-- Puts the row in its schedule's order; the oldest ended row goes when there are too many.
local function index_row()
  redis.call('ZADD', K.fire_index, 0, ROW)
  local from, to = '[' .. A.schedule_id .. ':', '[' .. A.schedule_id .. ';'
  if redis.call('ZLEXCOUNT', K.fire_index, from, to) <= tonumber(A.fires_kept) then return end
  local oldest = redis.call('ZRANGEBYLEX', K.fire_index, from, to, 'LIMIT', 0, 1)[1]
  local kept = read(K.fires, oldest)
  if not kept or TERMINAL[kept.state] or kept.state == 'missed' then
    redis.call('ZREM', K.fire_index, oldest)
    redis.call('HDEL', K.fires, oldest)
  end
end

-- Accounts for a fire that makes no turn.
local function drop(state, event, mechanism, facts)
  redis.call('HSET', K.fires, ROW, cjson.encode({state = state, at = NOW, reason = mechanism, origin = A.mode}))
  facts.schedule_id, facts.nominal_at, facts.reason = A.schedule_id, tonumber(A.nominal_ms), A.reason
  emit(event, nil, nil, facts, mechanism)
  return {state, (waiting()), 0}
end
