-- Where a turn's changes are pushed: the turn's record names its configurations, newest last.
-- @keys push
-- @args push_id push
-- @include turn
-- Writes the given configuration, if one is given; the caller saves the turn.
local function put_push(turn)
  if A.push_id == '' then return end
  local known = turn.push or {}
  local kept = {}
  for _, id in ipairs(known) do
    if id ~= A.push_id then kept[#kept + 1] = id end
  end
  kept[#kept + 1] = A.push_id
  turn.push = kept
  redis.call('HSET', K.push, turn.id .. ':' .. A.push_id, A.push)
end
