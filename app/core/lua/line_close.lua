-- Closes a line: what it still owes is given up, and an event says so. A closed line keeps its
-- place and may be opened again; with remove=1 it is forgotten. With if_idle=1 one that still owes
-- something is left as it is.
-- @keys lines owed
-- @args line mechanism reason webhook_id remove if_idle counted_most setting limit_count measured_count
-- mechanism: webhook_disabled | webhook_removed
-- @returns {"gone" | "closed" | "owes", events given up or owed}
-- @include event
local state = read(K.lines, A.line)
if not state then return {'gone', 0} end
local owed = 0
if not state.closed_at and not state.done_at then
  if state.only then
    owed = redis.call('EXISTS', K.events)
  else
    owed = #redis.call('XRANGE', K.events, '(' .. state.cursor, '+', 'COUNT', A.counted_most)
  end
end
if A.if_idle == '1' and owed > 0 then return {'owes', owed} end
if A.remove == '1' then
  redis.call('HDEL', K.lines, A.line)
elseif not state.closed_at and not state.done_at then
  state.closed_at, state.lease, state.lease_until = NOW, nil, nil
  redis.call('HSET', K.lines, A.line, cjson.encode(state))
end
redis.call('ZREM', K.owed, A.line)
if owed > 0 and A.mechanism ~= '' then
  emit('LIMIT_HIT', nil, nil, {webhook_id = A.webhook_id, owed_count = owed, reason = A.reason,
    setting = A.setting, limit_count = tonumber(A.limit_count),
    measured_count = tonumber(A.measured_count) or owed}, A.mechanism)
end
return {'closed', owed}
