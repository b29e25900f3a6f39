-- A heartbeat that names what the agent runs: which sessions live on, what is not ours, zombies.
-- @include directives
local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
end

-- A live session that is not named. Two beats in a row of its own runtime lose it: one may have
-- been on its way when the session started. Another runtime's beat loses it only when its own has
-- been silent for two intervals.
local function miss(session)
  if session.instance == A.instance then
    session.missed = (session.missed or 0) + 1
  elseif NOW - session.seen_at > 2 * tonumber(A.heartbeat_interval_ms) then
    session.missed = 2
  end
  return (session.missed or 0) >= 2
end

-- By session ids: foreign = ids that are not ours.
local function by_ids(named)
  local reported, foreign, orders, lost = {}, 0, {}, false
  for _, id in ipairs(named) do reported[id] = true end
  for _, id in ipairs(redis.call('ZRANGE', K.live, 0, -1)) do
    local session = read(K.sessions, id)
    if reported[id] then
      session.seen_at, session.missed = NOW, nil
      append(orders, directives(session))
    elseif session.started_at then
      lost = miss(session) or lost
    end
    reported[id] = nil
    keep(session)
  end
  redis.call('DEL', K.zombies)
  for id in pairs(reported) do
    local session = read(K.sessions, id)
    if not session then
      foreign = foreign + 1
    elseif session.ended_at then
      if session.mechanism ~= 'finish' then redis.call('ZADD', K.zombies, session.ended_at, id) end
      append(orders, directives(session))
    end
  end
  return foreign, orders, lost
end
