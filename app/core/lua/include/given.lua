-- What a session is given, written down.
-- @keys bound
-- @args bound facts limits
-- @include session
-- Notes it on the session, which the caller keeps. Limits: [[mechanism, event payload], …].
local function record(session)
  for name, value in pairs(cjson.decode(A.facts)) do session[name] = value end
  redis.call('HSET', K.bound, session.id, A.bound)
  local turn = {id = session.turn_id}
  for _, hit in ipairs(cjson.decode(A.limits)) do emit('LIMIT_HIT', turn, session, hit[2], hit[1]) end
end
