-- A live session has recalled memories: what was written up to these numbers it has seen.
-- seen: scope -> sequence number of the store at the recall.
-- @keys sessions
-- @args session_id seen team
-- @returns {"seen" | "known" | "ended"}
-- @include event
local session = read(K.sessions, A.session_id)
if not session or session.ended_at then return {'ended'} end
local before = session.memory_seq or {}
local news, is_new = {}, false
for scope, seq in pairs(cjson.decode(A.seen)) do
  local was = before[scope] or -1
  if scope == 'TEAM' and session.memory_team ~= A.team then was = -1 end
  if seq > was then
    before[scope], news[scope], is_new = seq, seq, true
    if scope == 'TEAM' then session.memory_team = A.team end
  end
end
if not is_new then return {'known'} end
session.memory_seq = before
redis.call('HSET', K.sessions, session.id, cjson.encode(session))
emit('POLICY_SEEN', {id = session.turn_id}, session, {memory_seq = news})
return {'seen'}
