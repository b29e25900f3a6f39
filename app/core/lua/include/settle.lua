-- Settles a dead letter: it is looked after, and from now on kept like any ended turn.
-- @keys dead done turns
-- @include turn
-- Writes the turn's record, whatever it is; only a dead letter moves. Its state stays what it was.
local function settle(turn)
  redis.call('HSET', K.turns, turn.id, cjson.encode(turn))
  if redis.call('ZREM', K.dead, turn.id) == 0 then return end
  file(K.done, turn.id)
  forget_oldest()
end
