-- The bound on the push configurations of a turn.
-- @args push_configs_max
-- @include push refusal
-- Refuses one more configuration than a turn may have; nil where the given one has room.
local function refuse_push(turn)
  local limit, count = tonumber(A.push_configs_max), turn.push and #turn.push or 0
  if A.push_id == '' or count < limit then return nil end
  if redis.call('HEXISTS', K.push, turn.id .. ':' .. A.push_id) == 1 then return nil end
  local told = {
    limit_count = limit, measured_count = count, setting = 'TURNKEEPER_PUSH_CONFIGS_MAX',
  }
  tell_refusal('LIMIT_HIT', 'push_configs', turn, nil, told, 'push_configs')
  told.mechanism, told.untold_count = 'push_configs', nil
  return refuse('too_many_push_configs', told)
end
