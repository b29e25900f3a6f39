-- Compare and set of a record by its version; 0 is the version of none.
-- @args version record
-- @include base
-- Writes the record, or removes it where it is empty; else "gone" or "changed", and nothing written.
local function put_version(key, id)
  local stored = read(key, id)
  if A.version == '0' then
    if stored then return 'changed' end
  elseif not stored then
    return 'gone'
  elseif stored.version ~= tonumber(A.version) then
    return 'changed'
  end
  if A.record == '' then
    redis.call('HDEL', key, id)
  else
    redis.call('HSET', key, id, A.record)
  end
  return 'ok'
end
