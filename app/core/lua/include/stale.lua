-- A schedule's prompt has changed: its live sessions are behind from now on, if they were not yet.
-- @keys sessions live
-- @include base
local function mark_stale(schedule_id)
  for _, id in ipairs(redis.call('ZRANGE', K.live, 0, -1)) do
    local session = read(K.sessions, id)
    if session.schedule_id == schedule_id and not session.prompt_stale_at then
      session.prompt_stale_at = NOW
      redis.call('HSET', K.sessions, id, cjson.encode(session))
    end
  end
end
