-- Hands the oldest bound session to a runtime's poll. One that was handed out but never started
-- is handed out again after a while: the reply that carried it may have been lost. The inbox is in
-- order of when each may be handed out: by fence at first, then by time, behind all new ones.
-- A poll without room (room=0) only hears what its sessions are asked, and never what another
-- runtime's are: told once here, it would reach that one only with its next heartbeat.
-- token_digest: of the token that this handover carries; each of the last few is good.
-- @args instance redeliver_after_ms room token_digest
-- @returns {"taken", session, turn, body, bound, 0}
-- @returns {"empty", "", "", "", "", wake at ms, directive…}
-- @include directives
local TOKENS_KEPT = 16

local function is_its_own(session)
  local holder = session and (session.started_at and session.instance or session.taken_by) or ''
  return session and (holder == '' or A.instance == '' or holder == A.instance)
end

local function heard(wake_at)
  local answer = {'empty', '', '', '', '', wake_at}
  for _, of in ipairs({K.live, K.zombies}) do
    for _, id in ipairs(redis.call('ZRANGE', of, 0, 99)) do
      local session = read(K.sessions, id)
      for _, order in ipairs(is_its_own(session) and directives(session, true) or {}) do
        answer[#answer + 1] = order
      end
    end
  end
  return answer
end

local first = A.room == '0' and {} or redis.call('ZRANGE', K.inbox, 0, 0, 'WITHSCORES')
local id, at = first[1], number(first[2])
if not id then return heard(0) end
if at > NOW then return heard(at) end
redis.call('ZADD', K.inbox, NOW + tonumber(A.redeliver_after_ms), id)

local session = read(K.sessions, id)
local turn = read(K.turns, session.turn_id)
session.taken_at, session.taken_by = NOW, A.instance
local digests = session.tokens or {}
digests[#digests + 1] = A.token_digest
if #digests > TOKENS_KEPT then table.remove(digests, 1) end
session.tokens = digests
if session.state == 'claimed' and move(turn, 'delivered') then
  session.state, session.delivered_at, session.seen_at = 'delivered', NOW, NOW
  emit('TURN_DELIVERED', turn, session, {
    attempt = session.attempt, since_claim_ms = NOW - session.claimed_at,
  })
end
keep(session)
return {'taken', cjson.encode(session), cjson.encode(turn), redis.call('HGET', K.bodies, turn.id) or '',
  redis.call('HGET', K.bound, id) or '', 0}
