-- A session leaves a checkpoint note and goes on. It is kept at once for the next session of the same
-- schedule or chat; a turn of neither has no next, and its note stands in the event only.
-- @args note instance
-- @returns {"kept" | "told", within so many ms a clock may run out that did not run before (else 0),
-- @returns   directive…}
-- @returns refused: session_not_found, stale_fence, illegal_transition
-- @include full held directives
let_through()
local session, refusal = held('note', nil, A.note)
if not session then return refusal end
local turn = read(K.turns, session.turn_id)
local is_new = not session.started_at or session.stalled_at
if not begin(session, turn, A.instance) then return refuse('illegal_transition', {state = turn.state}) end
session.seen_at, session.progress_at, session.stalled_at, session.noted_at = NOW, NOW, nil, NOW
keep(session)
local place = note_place(turn)
if place then redis.call('HSET', K.notes, place, A.note) end
emit('SESSION_CHECKPOINTED', turn, session, '{"note":' .. A.note .. '}')
return {place and 'kept' or 'told', is_new and soonest(session) or 0, unpack(directives(session))}
