-- Rings for workspaces that have had their visit: they stand behind all that wait by now.
-- workspace_ids: a JSON list.
-- @keys ready rings
-- @args workspace_ids
-- @returns {"rung"}
for _, id in ipairs(cjson.decode(A.workspace_ids)) do
  redis.call('ZREM', K.ready, id) -- a full Redis lets pass what begins by taking away
  redis.call('ZADD', K.ready, redis.call('INCR', K.rings), id)
end
return {'rung'}
