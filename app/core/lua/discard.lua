-- An operator gives a dead letter up. It can still be replayed while it is kept.
-- @keys dead
-- @args turn_id reason
-- @returns {"discarded" | "repeated"}
-- @returns refused: turn_not_found, illegal_transition
-- @include settle
local turn = read(K.turns, A.turn_id)
if not turn then return refuse('turn_not_found', {turn_id = A.turn_id}) end
if turn.discarded_at then return {'repeated'} end
if not redis.call('ZSCORE', K.dead, turn.id) then
  return refuse('illegal_transition', {state = turn.state, replayed_as = turn.replayed_as})
end
turn.discarded_at = NOW
settle(turn)
emit('TURN_DISCARDED', turn, nil, {reason = A.reason}, 'operator')
return {'discarded'}
