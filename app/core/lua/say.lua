-- The agent's word to its user while it works; no turn ends by it. It counts as progress.
-- @args text instance
-- @returns {"ok", within so many ms a clock may run out that did not run before (else 0), directive…}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full held directives
let_through()
local session, refusal = held('say', A.text)
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
local is_new = not session.started_at or session.stalled_at
if not begin(session, turn, A.instance) then return refuse('illegal_transition', {state = turn.state}) end
session.seen_at, session.progress_at, session.stalled_at = NOW, NOW, nil
keep(session)
emit('AGENT_MESSAGE', turn, session, {
  text = A.text, origin = 'notify', context_id = turn.context_id,
})
return {'ok', is_new and soonest(session) or 0, unpack(directives(session))}
