-- The answer to a start of a session that has begun.
-- @args instance
-- @include directives
local function begun(session)
  if session.instance == '' and A.instance ~= '' then
    session.instance = A.instance
    keep(session)
  elseif session.instance ~= A.instance then
    return refuse('started_elsewhere', {session_id = session.id, instance = session.instance})
  end
  return {'replayed', soonest(session), unpack(directives(session))}
end
