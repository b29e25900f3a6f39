-- Makes one fire of a schedule, at most once: compare-and-set of the next nominal time, the turn,
-- its ledger row and its event in one step. mode: make | missed | manual (no compare-and-set).
-- A fire whose row is in the ledger already is not made again, whatever moved the due time back.
-- @keys schedules due workspace
-- @args schedule_id version nominal_ms next_ms mode reason limit_ms limit_setting turn_id lane body record
-- @args max_wait_ms expires_in_ms queue_depth_max
-- @returns {"made" | "missed" | "skipped" | "repeated", depth, runnable 0|1}
-- @returns {"moved" | "early", next nominal or ""}
-- @returns refused: schedule_not_found, schedule_changed
-- @include ledger room
local schedule = read(K.schedules, A.schedule_id)
if not schedule then return refuse('schedule_not_found', {schedule_id = A.schedule_id}) end
local nominal = tonumber(A.nominal_ms)
if A.mode ~= 'manual' then
  if schedule.version ~= tonumber(A.version) then return refuse('schedule_changed') end
  local stands = redis.call('ZSCORE', K.due, A.schedule_id)
  if not stands or tonumber(stands) ~= nominal then return {'moved', stands or ''} end
  if nominal > NOW then return {'early', stands} end
  redis.call('ZADD', K.due, A.next_ms, A.schedule_id)
end
local row = read(K.fires, ROW)
if row and (row.turn_id or A.mode ~= 'manual') then
  return {A.mode == 'manual' and 'made' or 'repeated', (waiting()), runnable()}
end

index_row()
if A.mode == 'missed' then
  return drop('missed', 'CRON_MISSED', 'catchup_window', {
    limit_ms = tonumber(A.limit_ms), measured_ms = NOW - nominal, setting = A.limit_setting,
  })
end
local depth, bound = waiting(), tonumber(A.queue_depth_max)
if depth >= bound then
  emit('LIMIT_HIT', nil, nil, {limit_count = bound, measured_count = depth,
    setting = 'TURNKEEPER_QUEUE_DEPTH_MAX', refused = 'cron'}, 'queue_depth')
  return drop('skipped', 'CRON_SKIPPED', 'queue_depth', {
    limit_count = bound, measured_count = depth, setting = 'TURNKEEPER_QUEUE_DEPTH_MAX',
  })
end

local turn = cjson.decode(A.record)
turn.id, turn.lane, turn.origin = A.turn_id, A.lane, 'cron'
turn.schedule_id, turn.nominal_at, turn.fire_origin = A.schedule_id, nominal, A.mode
turn.max_wait_ms = tonumber(A.max_wait_ms)
local life = number(A.expires_in_ms)
if life then turn.expires_at = NOW + life end
enqueue(turn, A.body)
emit('CRON_QUEUED', turn, nil, {
  schedule_id = A.schedule_id, nominal_at = nominal, late_ms = NOW - nominal, depth = depth + 1, mode = A.mode,
})
return {'made', depth + 1, runnable()}
