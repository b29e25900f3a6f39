-- Settles one event of a line: delivered, given up (dead), passed over unsent, or to be tried
-- again later (also with what disabled its receiver). Every attempt leaves a row; a repeated call
-- changes nothing. With outcome release the line is only put down.
-- @keys lines owed deliveries delivered
-- @args line token event_id outcome attempt delay_ms hold_ms is_done row deliveries_kept
-- @returns {"ok" | "repeated" | "stale"}
-- @include after base
local state = read(K.lines, A.line)
local function note()
  if A.row == '' then return end
  redis.call('XADD', K.deliveries, 'MAXLEN', '~', A.deliveries_kept, '*', 'line', A.line,
    'event_id', A.event_id, 'outcome', A.outcome, 'attempt', A.attempt, 'row', A.row)
  redis.call('HINCRBY', K.delivered, A.outcome, 1)
end
local function is_settled()
  if state.settled == A.token .. A.event_id .. A.attempt then return true end
  return not state.only and not is_after(A.event_id, state.cursor)
end
if not state or state.closed_at or state.done_at then
  note() -- it was sent all the same
  return {'stale'}
end
if A.outcome == 'release' then
  if state.lease ~= A.token then return {'stale'} end
  state.lease, state.lease_until = nil, nil
  redis.call('HSET', K.lines, A.line, cjson.encode(state))
  return {'ok'}
end
if is_settled() then return {'repeated'} end
note()
if state.lease ~= A.token then return {'stale'} end
if A.outcome == 'retry' or A.outcome == 'disabled' then
  state.attempts, state.next_at = tonumber(A.attempt), NOW + tonumber(A.delay_ms)
  state.failed_since = state.failed_since or NOW
  state.settled = A.token .. A.event_id .. A.attempt
elseif state.only then
  redis.call('HDEL', K.lines, A.line)
  redis.call('ZREM', K.owed, A.line)
  return {'ok'}
else
  state.cursor, state.attempts = A.event_id, 0
  state.next_at, state.failed_since, state.settled = nil, nil, nil
end
local hold_ms = tonumber(A.hold_ms)
state.lease = hold_ms > 0 and A.token or nil
state.lease_until = hold_ms > 0 and NOW + hold_ms or nil
if A.is_done == '1' then
  state = {done_at = NOW, cursor = A.event_id}
  redis.call('ZREM', K.owed, A.line)
elseif not state.only then
  redis.call('ZADD', K.owed, (place(state.cursor)), A.line)
end
redis.call('HSET', K.lines, A.line, cjson.encode(state))
return {'ok'}
