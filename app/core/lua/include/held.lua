-- The fence check of every holder's write.
-- @args session_id fence
-- @include session refusal
-- The live session of this fence; else nil and the refusal, which is kept in the log. `known`: the
-- session, where it was read already.
local function held(writing, text, note, known)
  local session = known or read(K.sessions, A.session_id)
  if not session then return nil, refuse('session_not_found', {session_id = A.session_id}) end
  if session.fence == number(A.fence) and not session.ended_at then return session end
  -- Late results apart: they must not be left out because of late progress, or words on the way.
  local kind = string.match(writing, '^finish ') and 'fenced result' or 'fenced write'
  tell_refusal('WRITE_FENCED', kind, {id = session.turn_id}, session, {
    writing = writing, given_fence = number(A.fence) or -1,
    session_fence = session.fence, ended_by = session.mechanism, text = text, note = note,
  }, 'fence')
  return nil, refuse('stale_fence', {
    session_id = session.id, fence = session.fence, ended_by = session.mechanism,
  })
end
