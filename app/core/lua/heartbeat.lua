-- Takes one heartbeat: capacity with its TTL, the idle clocks of the sessions it names, status.
-- Fields left out change nothing; one older than the last of the same instance is ignored.
-- @keys capacity
-- @args seq instance active_tasks max_concurrent sessions error_rate runtime_state idle_timeout
-- @args current_task heartbeat_ttl_ms heartbeat_interval_ms
-- @returns {"ok" | "stale", status, waiting count, runnable 0|1, look 0|1, directive…}: with look=1
-- @returns   the reaper must be told: it came back, a session is lost, the idle limit changed
-- @returns refused: workspace_not_found, workspace_removed
-- @include full reconcile status
local ws = redis.call('HMGET', K.workspace, 'paused_at', 'hold_until', 'max_concurrent', 'status', 'error_rate',
  'wedged', 'is_late', 'beat_idle_ms')
local was = ws[4]
if not was then return refuse('workspace_not_found') end
if was == 'removed' then return refuse('workspace_removed') end
local last = redis.call('HMGET', K.capacity, 'seq', 'instance')
local seq = number(A.seq) or (number(last[1]) or 0) + 1
local is_restart = A.instance == '' and seq <= 1 -- who names no instance begins anew by its count
if last[1] and last[2] == A.instance and seq <= tonumber(last[1]) and not is_restart then
  return {'stale', was, (waiting()), 0, 0}
end

let_through()
local said, known = {'seq', seq, 'instance', A.instance, 'at', NOW_TEXT}, {'beat_at', NOW_TEXT}
local function note(list, field, value)
  list[#list + 1] = field
  list[#list + 1] = value
end
if A.max_concurrent ~= '' then note(said, 'max_concurrent', A.max_concurrent) end
local foreign, orders, lost = reconcile(A.sessions ~= '' and cjson.decode(A.sessions) or nil, number(A.active_tasks))
if foreign then note(said, 'foreign', foreign) end
if A.active_tasks ~= '' then note(said, 'active_tasks', A.active_tasks) end
redis.call('HSET', K.capacity, unpack(said))
redis.call('PEXPIRE', K.capacity, A.heartbeat_ttl_ms)

local idle = ws[8]
if A.idle_timeout == 'null' then
  idle = false
  redis.call('HDEL', K.workspace, 'beat_idle_ms')
elseif A.idle_timeout ~= '' then
  idle = string.format('%.0f', math.floor(tonumber(A.idle_timeout) * 1000))
  note(known, 'beat_idle_ms', idle)
end
if A.current_task ~= '' then note(known, 'current_task', cjson.decode(A.current_task)) end
if A.error_rate ~= '' then note(known, 'error_rate', A.error_rate) end
if A.runtime_state ~= '' then note(known, 'wedged', A.runtime_state == 'wedged' and '1' or '0') end
if A.instance ~= 'probe' then note(known, 'own_beat_at', NOW_TEXT) end
redis.call('HSET', K.workspace, unpack(known))
local status = judge(ws[7] and 'offline' or was, number(A.error_rate) or number(ws[5]) or 0,
  A.runtime_state == '' and ws[6] == '1' or A.runtime_state == 'wedged')
local look = (was == 'offline' or lost or idle ~= ws[8]) and 1 or 0
redis.call('PUBLISH', K.wake, cjson.encode({event = 'WORKSPACE_HEARTBEAT', at = NOW, payload = {
  seq = seq, status = status, active_tasks = number(A.active_tasks), live_sessions = redis.call('ZCARD', K.live),
}}))
return {'ok', status, (waiting()), runnable(ws), look, unpack(orders)}
