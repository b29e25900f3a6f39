-- Holds a live session of an agent behind a URL for one worker until its lease ends; the same token
-- holds it on, and with lease_ms=0 puts it down. With sends=1 the session is marked as sent, once:
-- a worker that comes later knows that the agent may have its message already. push_digest goes with
-- that mark: of the secret with which the agent may push, which only the message holds.
-- @keys sessions turns bodies bound
-- @args session_id token lease_ms sends push_digest
-- @returns {"ok" | "sent", session, turn, body, bound}: sent: by somebody, before this call
-- @returns {"later", ms} | {"gone", session or ""}
-- @include full
local session = read(K.sessions, A.session_id)
if not session or session.ended_at then return {'gone', session and cjson.encode(session) or ''} end
if session.held_by ~= A.token and (session.held_until or 0) > NOW then
  return {'later', session.held_until - NOW}
end
let_through()
local was_sent = A.sends == '1' and session.sent_at and session.sent_by ~= A.token
if A.sends == '1' and not session.sent_at then
  session.sent_at, session.sent_by = NOW, A.token
  session.push_digest = A.push_digest ~= '' and A.push_digest or nil
end
local lease_ms = tonumber(A.lease_ms)
session.held_by = lease_ms > 0 and A.token or nil
session.held_until = lease_ms > 0 and NOW + lease_ms or nil
redis.call('HSET', K.sessions, session.id, cjson.encode(session))
return {was_sent and 'sent' or 'ok', cjson.encode(session), redis.call('HGET', K.turns, session.turn_id) or '',
  redis.call('HGET', K.bodies, session.turn_id) or '', redis.call('HGET', K.bound, session.id) or ''}
