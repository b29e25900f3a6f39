-- The agent's own end of a session: stores the result, frees the slot, tells who waits.
-- A repeat of an accepted finish changes nothing; one after the platform ended the session is fenced.
-- @args outcome result text note
-- @returns {"ok" | "replayed", turn state, waiting count, runnable 0|1}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include held directives
local done = read(K.sessions, A.session_id)
if done and done.ended_at and done.mechanism == 'finish' and done.fence == number(A.fence) then
  return {'replayed', done.turn_state, (waiting()), runnable()}
end
local session, refusal = held('finish ' .. A.outcome, A.text)
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
begin(session, turn, session.taken_by or '')
if not move(turn, A.outcome, 'finish') then return refuse('illegal_transition', {state = turn.state}) end
redis.call('HSET', K.results, turn.id, A.result)
local place = turn.schedule_id and 'sch:' .. turn.schedule_id or turn.context_id and 'ctx:' .. turn.context_id
if place then
  if A.note ~= '' then redis.call('HSET', K.notes, place, A.note) else redis.call('HDEL', K.notes, place) end
end
if A.text ~= '' then
  emit('AGENT_MESSAGE', turn, session, {
    text = A.text, state = turn.state, origin = turn.origin, context_id = turn.context_id,
  })
end
cron_event(turn, session)
close(session, turn, 'finish')
return {'ok', turn.state, (waiting()), runnable()}
