-- Says that a dispatch slice is alive for so long; 0 takes it out.
-- @keys dispatchers
-- @args slice_id ttl_ms
-- @returns {"ok", dispatchers alive}
-- @include base
redis.call('ZREMRANGEBYSCORE', K.dispatchers, '-inf', NOW)
if A.ttl_ms == '0' then
  redis.call('ZREM', K.dispatchers, A.slice_id)
else
  redis.call('ZADD', K.dispatchers, NOW + tonumber(A.ttl_ms), A.slice_id)
end
return {'ok', redis.call('ZCARD', K.dispatchers)}
