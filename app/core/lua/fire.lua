-- Makes fires of one schedule, each at most once: compare-and-set of the next nominal time, the
-- turns, their ledger rows and events in one step; none again. mode: make | manual | backfill; the
-- last two stand beside the schedule's times.
-- fires: [{nominal, next, turn_id, max_wait_ms, is_missed}, …], oldest first; nominal, next: text.
-- @keys schedules due workspace
-- @args schedule_id version fires mode limit_ms limit_setting lane body record
-- @args expires_in_ms queue_depth_max backfill_id
-- @returns {"fired", depth, runnable 0|1, next nominal, "made" | "missed" | "skipped" | "repeated"
-- @returns   | "passed" | "full" of each fire…}
-- @returns {"moved" | "early", next nominal or ""}
-- @returns refused: schedule_not_found, schedule_changed
-- @include ledger room backfill
local schedule = read(K.schedules, A.schedule_id)
if not schedule then return refuse('schedule_not_found', {schedule_id = A.schedule_id}) end
local fires, bound, depth = cjson.decode(A.fires), tonumber(A.queue_depth_max), (waiting())
local is_due, is_backfill = A.mode == 'make', A.mode == 'backfill'

local function make(fire)
  local row, nominal = read(K.fires, A.schedule_id .. ':' .. fire.nominal), tonumber(fire.nominal)
  -- A row may be trimmed before its turn: one that is older than the others goes first.
  if row and (row.turn_id or is_due) or redis.call('HEXISTS', K.turns, fire.turn_id) == 1 then
    return A.mode == 'manual' and 'made' or 'repeated'
  end
  if fire.is_missed then
    return drop(fire, 'missed', 'CRON_MISSED', 'catchup_window', {
      limit_ms = tonumber(A.limit_ms), measured_ms = NOW - nominal, setting = A.limit_setting,
      reason = 'no scheduler made it in time',
    })
  end
  if depth >= bound then return no_room(fire, bound, depth) end
  index_row(A.schedule_id .. ':' .. fire.nominal)
  local turn, life = cjson.decode(A.record), number(A.expires_in_ms)
  turn.id, turn.lane, turn.origin, turn.max_wait_ms = fire.turn_id, A.lane, 'cron', fire.max_wait_ms
  turn.schedule_id, turn.nominal_at, turn.fire_origin = A.schedule_id, nominal, A.mode
  turn.expires_at, depth = life and NOW + life or nil, depth + 1
  enqueue(turn, A.body)
  emit('CRON_QUEUED', turn, nil, {
    schedule_id = A.schedule_id, nominal_at = nominal, late_ms = NOW - nominal, depth = depth, mode = A.mode,
  })
  return 'made'
end

if is_due then
  if schedule.version ~= tonumber(A.version) then return refuse('schedule_changed') end
  local stands = redis.call('ZSCORE', K.due, A.schedule_id)
  if not stands or tonumber(stands) ~= tonumber(fires[1].nominal) then return {'moved', stands or ''} end
  if tonumber(stands) > NOW then return {'early', stands} end
end
local last = schedule.enabled and NOW or math.min(NOW, schedule.updated_at)
local outcomes, following, done = {}, '', is_backfill and backfilled_to() or 0
for at, fire in ipairs(fires) do
  if is_due and tonumber(fire.nominal) > last then break end -- or this server's clock is behind
  outcomes[at], following = tonumber(fire.nominal) <= done and 'passed' or make(fire), fire.next
  if outcomes[at] == 'full' then break end
  if is_backfill and outcomes[at] ~= 'passed' then backfilled(fire, outcomes[at]) end
end
if is_due then set_due(following, schedule.enabled or (number(following) or NOW) <= last) end
return {'fired', depth, runnable(), following, unpack(outcomes)}
