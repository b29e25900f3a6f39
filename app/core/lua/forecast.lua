-- Notes whether a workspace's schedules need more than its slots give; each change is told once.
-- @keys workspace
-- @args is_over measured_percent limit_percent setting sentence advice
-- @returns {"over" | "within" | "same"}
-- @returns refused: workspace_not_found
-- @include event
local status = redis.call('HGET', K.workspace, 'status')
if not status then return refuse('workspace_not_found') end
local was_over = redis.call('HEXISTS', K.workspace, 'forecast_over_at') == 1
if status == 'removed' or was_over == (A.is_over == '1') then return {'same'} end
if was_over then
  redis.call('HDEL', K.workspace, 'forecast_over_at')
  emit('WORKSPACE_CHANGED', nil, nil, {
    changed = 'forecast', limit_percent = tonumber(A.limit_percent),
    measured_percent = tonumber(A.measured_percent), reason = A.sentence,
  }, 'forecast')
  return {'within'}
end
redis.call('HSET', K.workspace, 'forecast_over_at', NOW)
emit('LIMIT_HIT', nil, nil, {
  limit_percent = tonumber(A.limit_percent), measured_percent = tonumber(A.measured_percent),
  setting = A.setting, reason = A.sentence, advice = A.advice,
}, 'forecast')
return {'over'}
