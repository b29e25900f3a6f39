-- The ledger's order, and the rows of fires that made no turn.
-- @keys fire_index due
-- @args schedule_id mode fires_kept
-- @include lane
-- Puts a row in its schedule's order; the oldest ended row goes when there are too many.
local function index_row(row)
  redis.call('ZADD', K.fire_index, 0, row)
  local from, to = '[' .. A.schedule_id .. ':', '[' .. A.schedule_id .. ';'
  if redis.call('ZLEXCOUNT', K.fire_index, from, to) <= tonumber(A.fires_kept) then return end
  local oldest = redis.call('ZRANGEBYLEX', K.fire_index, from, to, 'LIMIT', 0, 1)[1]
  local kept = read(K.fires, oldest)
  -- Not the new row itself: one that is made up for may be older than all the others.
  if oldest ~= row and (not kept or TERMINAL[kept.state] or kept.state == 'missed') then
    redis.call('ZREM', K.fire_index, oldest)
    redis.call('HDEL', K.fires, oldest)
  end
end

-- Accounts for a fire that makes no turn.
local function drop(fire, state, event, mechanism, facts)
  local row = A.schedule_id .. ':' .. fire.nominal
  local kept = {state = state, at = NOW, ended_at = NOW, reason = mechanism, origin = A.mode}
  for name, value in pairs(limits_of(facts)) do kept[name] = value end
  index_row(row)
  redis.call('HSET', K.fires, row, cjson.encode(kept))
  facts.schedule_id, facts.nominal_at = A.schedule_id, tonumber(fire.nominal)
  emit(event, nil, nil, facts, mechanism)
  return state
end

-- One that was paused while fires were overdue makes those that were due by then, and stops.
local function set_due(following, goes_on)
  if goes_on then
    redis.call('ZADD', K.due, following, A.schedule_id)
  else
    redis.call('ZREM', K.due, A.schedule_id)
  end
end

-- A fire that finds the queue full is skipped; a backfill stops there, and goes on another time.
local function no_room(fire, bound, depth)
  local is_backfill = A.mode == 'backfill'
  emit('LIMIT_HIT', nil, nil, {limit_count = bound, measured_count = depth,
    setting = 'TURNKEEPER_QUEUE_DEPTH_MAX', refused = is_backfill and 'backfill' or 'cron'}, 'queue_depth')
  return is_backfill and 'full' or drop(fire, 'skipped', 'CRON_SKIPPED', 'queue_depth', {
    limit_count = bound, measured_count = depth, setting = 'TURNKEEPER_QUEUE_DEPTH_MAX',
  })
end
