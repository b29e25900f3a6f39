-- Has the reaper look at many workspaces, each within so long; an earlier look stands.
-- workspace_ids: a JSON list.
-- @keys deadlines
-- @args workspace_ids within_ms
-- @returns {"ok"}
-- @include base
local at = NOW + tonumber(A.within_ms)
for _, id in ipairs(cjson.decode(A.workspace_ids)) do
  local stands = redis.call('ZSCORE', K.deadlines, id)
  if not stands or tonumber(stands) > at then
    redis.call('ZREM', K.deadlines, id) -- a full Redis lets pass what begins by taking away
    redis.call('ZADD', K.deadlines, at, id)
  end
end
return {'ok'}
