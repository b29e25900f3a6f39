-- Ends waiting turns whose time to live has passed, whether or not anybody could claim them.
-- @args limit
-- @returns {"ok", how many it ended, when the next time to live passes in ms or ""}
-- @include ttl
local ended = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.expiring, '-inf', NOW, 'LIMIT', 0, A.limit)) do
  local turn = read(K.turns, id)
  redis.call('ZREM', K.expiring, id)
  if turn and turn.state == 'queued' and expires(turn) then
    unqueue(turn)
    run_out(turn)
    ended = ended + 1
  end
end
return {'ok', ended, redis.call('ZRANGE', K.expiring, 0, 0, 'WITHSCORES')[2] or ''}
