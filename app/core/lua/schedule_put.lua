-- Creates or replaces a schedule's record if its version is still the one that was read.
-- @keys schedules due workspace tallies
-- @args schedule_id version record next_ms policy_changed
-- @returns {"ok"}
-- @returns refused: workspace_not_found, workspace_removed, schedule_changed
-- @include fires stale
local status = redis.call('HGET', K.workspace, 'status')
if not status then return refuse('workspace_not_found') end
if status == 'removed' then return refuse('workspace_removed') end
local stored = read(K.schedules, A.schedule_id)
if (stored and stored.version or 0) ~= tonumber(A.version) then return refuse('schedule_changed') end
redis.call('HSET', K.schedules, A.schedule_id, A.record)
if stored and not stored.enabled and A.next_ms ~= '' then -- resumed: its failures are forgiven
  redis.call('HDEL', K.tallies, A.schedule_id .. ':failures')
end
unpark(A.schedule_id) -- its overlap policy may be another now
if A.next_ms == '' then
  redis.call('ZREM', K.due, A.schedule_id)
else
  redis.call('ZADD', K.due, A.next_ms, A.schedule_id)
end
if A.policy_changed == '1' then
  mark_stale(A.schedule_id)
  emit('POLICY_CHANGED', nil, nil, {
    schedule_id = A.schedule_id, prompt_version = cjson.decode(A.record).prompt_version,
  })
end
return {'ok'}
