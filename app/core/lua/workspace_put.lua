-- Creates a workspace or changes its configuration; a field with an empty value is cleared.
-- mode: create | change | register (create where absent)
-- @keys workspace
-- @args mode fields event mechanism
-- @returns {"created" | "changed"}
-- @returns refused: workspace_not_found, already_exists, workspace_removed
-- @include room event
local status = redis.call('HGET', K.workspace, 'status')
if status == 'removed' then return refuse('workspace_removed') end
if A.mode == 'create' and status then return refuse('already_exists') end
if A.mode == 'change' and not status then return refuse('workspace_not_found') end
if not status then redis.call('HSET', K.workspace, 'status', 'offline', 'created_at', NOW) end
local changes = cjson.decode(A.fields)
for field, value in pairs(changes) do
  if value == '' then
    redis.call('HDEL', K.workspace, field)
  elseif value == 'now' and string.match(field, '_at$') then
    redis.call('HSETNX', K.workspace, field, NOW)
  elseif A.mode == 'register' and field == 'name' then
    redis.call('HSETNX', K.workspace, field, value) -- an agent's card renames no workspace
  else
    redis.call('HSET', K.workspace, field, value)
  end
end
redis.call('HSET', K.workspace, 'updated_at', NOW)
-- Names only: a value may be an address with a password in it.
local names = {}
for field in pairs(changes) do names[#names + 1] = field end
table.sort(names)
if A.event ~= '' then
  emit(A.event, nil, nil, {changed = table.concat(names, ', '), reason = changes.paused_reason},
    A.mechanism ~= '' and A.mechanism or nil)
end
return {status and 'changed' or 'created', runnable()}
