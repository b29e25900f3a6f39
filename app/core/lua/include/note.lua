-- What the end of a session makes of its checkpoint note.
-- @keys notes
-- @args note
-- @include session
local function has_obeyed(session)
  return session.checkpoint_asked_at and session.noted_at and session.noted_at >= session.checkpoint_asked_at
end

-- A failed session leaves the note of the one before it: the work still stands there. A note
-- without a next step, an answer taken for one, is worse than what the session noted itself.
local function settle_note(session, turn, outcome)
  local place = note_place(turn)
  if not place then return end
  if A.note == '' then
    if outcome == 'completed' then redis.call('HDEL', K.notes, place) end
  elseif not session.noted_at or (cjson.decode(A.note).next_step or '') ~= '' then
    redis.call('HSET', K.notes, place, A.note)
  end
end
