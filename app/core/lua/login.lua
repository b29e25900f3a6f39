-- Stores a browser's login, if the token that it comes from is still as it was read; of the logins
-- of one token the oldest beyond so many are revoked.
-- parent_digest: empty for the admin token of the settings, which is stored nowhere.
-- @keys tokens logins_of
-- @args digest record parent_digest parent_record session_ms logins_per_token_max
-- @returns {"made", how many were revoked that were still stored}
-- @returns {"gone"}
-- @include base
if A.parent_digest ~= '' and redis.call('HGET', K.tokens, A.parent_digest) ~= A.parent_record then
  return {'gone'}
end
redis.call('HSET', K.tokens, A.digest, A.record)
redis.call('RPUSH', K.logins_of, A.digest)
redis.call('PEXPIRE', K.logins_of, A.session_ms)
local revoked = 0
while redis.call('LLEN', K.logins_of) > tonumber(A.logins_per_token_max) do
  revoked = revoked + redis.call('HDEL', K.tokens, redis.call('LPOP', K.logins_of))
end
return {'made', revoked}
