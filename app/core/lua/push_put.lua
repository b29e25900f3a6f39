-- Writes one push configuration of a turn, ended or not; one of the same id is replaced.
-- @args turn_id push_configs_max
-- @returns {"put"}
-- @returns refused: turn_not_found, too_many_push_configs
-- @include push refusal
local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
local limit, count = tonumber(A.push_configs_max), turn.push and #turn.push or 0
local is_new = redis.call('HEXISTS', K.push, turn.id .. ':' .. A.push_id) == 0
if is_new and count >= limit then
  local told = {
    limit_count = limit, measured_count = count, setting = 'TURNKEEPER_PUSH_CONFIGS_MAX',
  }
  tell_refusal('LIMIT_HIT', 'push_configs', turn, nil, told, 'push_configs')
  told.mechanism, told.untold_count = 'push_configs', nil
  return refuse('too_many_push_configs', told)
end
put_push(turn)
save(turn)
return {'put'}
