-- Writes a webhook's record if its version is still the one that was read; empty removes it.
-- @keys webhooks
-- @args webhook_id version record
-- @returns {"ok" | "gone" | "changed"}
-- @include base
local stored = read(K.webhooks, A.webhook_id)
if A.version == '0' then
  if stored then return {'changed'} end
elseif not stored then
  return {'gone'}
elseif stored.version ~= tonumber(A.version) then
  return {'changed'}
end
if A.record == '' then
  redis.call('HDEL', K.webhooks, A.webhook_id)
else
  redis.call('HSET', K.webhooks, A.webhook_id, A.record)
end
return {'ok'}
