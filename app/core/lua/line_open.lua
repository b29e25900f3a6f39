-- Opens a line: what one receiver is owed of this workspace's events, from a cursor on.
-- Opened again after it was closed, it goes on where it stopped. What it owes is not trimmed.
-- @keys lines owed
-- @args line cursor only
-- @returns {"opened" | "resumed" | "open"}
-- @include after base
local state = read(K.lines, A.line)
if state and (state.done_at or not state.closed_at) then return {'open'} end
local outcome = state and 'resumed' or 'opened'
state = state or {cursor = A.cursor, attempts = 0, opened_at = NOW}
if A.only ~= '' then state.only = A.only end
state.closed_at, state.next_at, state.failed_since, state.attempts = nil, nil, nil, 0
redis.call('HSET', K.lines, A.line, cjson.encode(state))
redis.call('ZADD', K.owed, (place(state.only or state.cursor)), A.line)
return {outcome}
