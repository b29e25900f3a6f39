-- What a heartbeat says of the sessions, by their ids or by a count only.
-- @include named
-- A beat of the whole workspace: every session lives, as far as the agent can tell.
local function see_all()
  local own, orders = 0, {}
  for _, id in ipairs(redis.call('ZRANGE', K.live, 0, -1)) do
    local session = read(K.sessions, id)
    local handed_at = session.sent_at or session.delivered_at
    if handed_at and handed_at < NOW or session.started_at then own = own + 1 end
    session.seen_at = NOW
    keep(session)
    append(orders, directives(session))
  end
  return own, orders
end

-- By count only: ours are the sessions delivered before this beat; zombies are not foreign.
local function by_count(active)
  local own, orders = see_all()
  local rest = math.max(0, active - own)
  local zombies = redis.call('ZCARD', K.zombies)
  if zombies > rest then redis.call('ZREMRANGEBYRANK', K.zombies, 0, zombies - rest - 1) end
  for _, id in ipairs(redis.call('ZRANGE', K.zombies, 0, -1)) do
    local session = read(K.sessions, id)
    if session then append(orders, directives(session)) end
  end
  return math.max(0, rest - zombies), orders
end

-- Foreign work (nil: not said), directives, whether a session is lost.
local function reconcile(named, active)
  if named then return by_ids(named) end
  if active then return by_count(active) end
  local _, orders = see_all()
  return nil, orders
end
