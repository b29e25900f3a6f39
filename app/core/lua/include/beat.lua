-- What a heartbeat says of the sessions: which live on, which are not ours, which are zombies.
-- @include directives
local function append(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
end

-- By session ids: foreign = ids that are not ours. A live session that two beats in a row after
-- its start do not name is lost: one beat may have been on its way when the session started.
local function by_ids(named)
  local reported, foreign, orders, lost = {}, 0, {}, false
  for _, id in ipairs(named) do reported[id] = true end
  for _, id in ipairs(redis.call('ZRANGE', K.live, 0, -1)) do
    local session = read(K.sessions, id)
    if reported[id] then
      session.seen_at, session.missed = NOW, nil
      append(orders, directives(session))
    elseif session.started_at then
      session.missed = (session.missed or 0) + 1
      lost = lost or session.missed >= 2
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

-- By count only: ours are the sessions delivered before this beat; zombies are not foreign.
local function by_count(active)
  local own, orders = 0, {}
  for _, id in ipairs(redis.call('ZRANGE', K.live, 0, -1)) do
    local session = read(K.sessions, id)
    if session.delivered_at and session.delivered_at < NOW or session.started_at then own = own + 1 end
    session.seen_at = NOW
    keep(session)
    append(orders, directives(session))
  end
  local rest = math.max(0, active - own)
  local zombies = redis.call('ZCARD', K.zombies)
  if zombies > rest then redis.call('ZREMRANGEBYRANK', K.zombies, 0, zombies - rest - 1) end
  return math.max(0, rest - zombies), orders
end

local function reconcile(named, active)
  if named then return by_ids(named) end
  if active then return by_count(active) end
  local _, orders = by_count(0)
  return nil, orders
end

-- online -> degraded at error_rate >= 0.5 or wedged; back below 0.1 with no wedge.
local function judge(was, error_rate, wedged)
  local status = was
  if wedged or error_rate >= 0.5 then
    status = 'degraded'
  elseif was ~= 'degraded' or error_rate < 0.1 then
    status = 'online'
  end
  if status ~= was then
    redis.call('HSET', K.workspace, 'status', status)
    emit(status == 'online' and 'WORKSPACE_ONLINE' or 'WORKSPACE_DEGRADED', nil, nil, {
      was = was, error_rate = tostring(error_rate), wedged = wedged,
    }, status == 'degraded' and (wedged and 'wedged' or 'error_rate') or nil)
  end
  return status
end
