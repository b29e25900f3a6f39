-- The agent's own end of a session: stores the result, frees the slot, tells who waits.
-- A repeat of an accepted finish changes nothing; one after the platform ended the session is fenced.
-- limits: [[mechanism, event payload], …] of what was cut or left while the agent worked.
-- rings: 0 where who ends it goes on to claim, or rings: then the first call does not look what waits.
-- @args outcome result text note limits rings
-- @returns {"ok" | "replayed", turn state, waiting count, runnable 0|1, wake at ms}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full held directives retry note
local OUTCOMES = {completed = true, failed = true, yielded = true, input_required = true, canceled = true}
local RETRIED = {failed = true, force_idled = true}
local done = read(K.sessions, A.session_id)
if done and done.ended_at and done.mechanism == 'finish' and done.fence == number(A.fence) then
  local back = done.turn_state == 'queued' and read(K.turns, done.turn_id)
  return {'replayed', done.turn_state, (waiting()), runnable(), back and back.not_before or 0}
end
let_through()
local session, refusal = held('finish ' .. A.outcome, A.text, A.note, done)
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
-- Nobody will answer the question of a turn that its caller canceled.
local outcome = session.unwanted and A.outcome == 'input_required' and 'canceled' or A.outcome
-- Nobody canceled a turn whose child was ended because its ceiling came.
local by, facts = 'finish', nil
if outcome == 'canceled' and session.cancel_mechanism == 'ceiling' and not session.unwanted then
  by = 'ceiling'
  outcome = (A.note ~= '' or session.noted_at) and 'yielded' or 'force_idled'
  facts = {
    asked_by = by, limit_ms = session.ceiling_ms, setting = session.ceiling_setting,
    measured_ms = NOW - session.claimed_at,
  }
end
-- Asked to save and exit, it has saved while it ran and then exited.
if outcome == 'completed' and has_obeyed(session) then outcome = 'yielded' end
if not OUTCOMES[A.outcome] then return refuse('illegal_transition', {state = turn.state}) end
if A.outcome ~= 'canceled' then begin(session, turn, session.taken_by or '') end
-- The answer to what it asks continues the same task of the agent.
turn.remote = outcome == 'input_required' and session.remote
  and {task = session.remote, context = session.remote_context} or nil
local again = RETRIED[outcome] and retry(turn, session, outcome)
if not again and not move(turn, outcome, by, facts) then return refuse('illegal_transition', {state = turn.state}) end
-- One that is tried again has no answer yet. Where very few turns are kept, the move may have
-- forgotten this one too.
if not again and not forgotten[turn.id] then redis.call('HSET', K.results, turn.id, A.result) end
settle_note(session, turn, outcome)
for _, hit in ipairs(cjson.decode(A.limits)) do emit('LIMIT_HIT', turn, session, hit[2], hit[1]) end
if A.note ~= '' then emit('SESSION_CHECKPOINTED', turn, session, '{"note":' .. A.note .. '}') end
if A.text ~= '' then
  emit('AGENT_MESSAGE', turn, session, {
    text = A.text, state = outcome, origin = turn.origin, context_id = turn.context_id,
  })
end
if not again then cron_event(turn, session) end
close(session, turn, 'finish', facts)
local depth = A.rings == '0' and 0 or waiting()
return {'ok', turn.state, depth, depth > 0 and runnable() or 0, again and turn.not_before or 0}
