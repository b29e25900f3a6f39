-- Writes tokens' records where each still has the record that was read; all of them or none.
-- @keys tokens
-- @args changes
-- @returns {"written"} | {"changed"}
-- @include base
local changes = cjson.decode(A.changes)
for _, change in ipairs(changes) do
  if (redis.call('HGET', K.tokens, change.digest) or '') ~= change.was then return {'changed'} end
end
for _, change in ipairs(changes) do redis.call('HSET', K.tokens, change.digest, change.record) end
return {'written'}
