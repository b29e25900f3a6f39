-- Writes one push configuration of a turn, ended or not; one of the same id is replaced.
-- @args turn_id
-- @returns {"put"}
-- @returns refused: turn_not_found, too_many_push_configs
-- @include push_room
local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
local refusal = refuse_push(turn)
if refusal then return refusal end
put_push(turn)
save(turn)
return {'put'}
