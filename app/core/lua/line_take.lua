-- Takes a line for one sender until its lease ends, with the next events it owes.
-- The same token takes it again; a line that owes nothing is not held.
-- @keys lines owed events
-- @args line token lease_ms page_count
-- @returns {"gone"} | {"idle"} | {"later", ms} | {"ok", record, {{event id, fields}…}}
-- @include base
local state = read(K.lines, A.line)
if not state or state.closed_at or state.done_at then return {'gone'} end
if state.lease ~= A.token and (state.lease_until or 0) > NOW then
  return {'later', state.lease_until - NOW}
end
if (state.next_at or 0) > NOW then return {'later', state.next_at - NOW} end
local found
if state.only then
  found = redis.call('XRANGE', K.events, state.only, state.only)
else
  found = redis.call('XRANGE', K.events, '(' .. state.cursor, '+', 'COUNT', A.page_count)
end
if #found == 0 then
  if state.only then -- its event is not kept any more
    redis.call('HDEL', K.lines, A.line)
    redis.call('ZREM', K.owed, A.line)
    return {'gone'}
  end
  if state.lease then
    state.lease, state.lease_until = nil, nil
    redis.call('HSET', K.lines, A.line, cjson.encode(state))
  end
  return {'idle'}
end
state.lease, state.lease_until = A.token, NOW + tonumber(A.lease_ms)
redis.call('HSET', K.lines, A.line, cjson.encode(state))
return {'ok', cjson.encode(state), found}
