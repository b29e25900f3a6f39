-- Removes one push configuration of a turn; a repeat changes nothing.
-- @keys push
-- @args turn_id push_id
-- @returns {"removed" | "absent"}
-- @returns refused: turn_not_found
-- @include turn
local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
if redis.call('HDEL', K.push, turn.id .. ':' .. A.push_id) == 0 then return {'absent'} end
local kept = {}
for _, id in ipairs(turn.push or {}) do
  if id ~= A.push_id then kept[#kept + 1] = id end
end
turn.push = #kept > 0 and kept or nil
save(turn)
return {'removed'}
