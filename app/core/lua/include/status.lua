-- What a heartbeat says of the workspace's health.
-- @keys workspace
-- @include event
-- online -> degraded at error_rate >= 0.5 or wedged; back below 0.1 with no wedge. One that was
-- only late is judged anew, as after being offline.
local function judge(was, error_rate, wedged)
  local status = was
  if wedged or error_rate >= 0.5 then
    status = 'degraded'
  elseif was ~= 'degraded' or error_rate < 0.1 then
    status = 'online'
  end
  if status ~= was then
    redis.call('HSET', K.workspace, 'status', status)
    redis.call('HDEL', K.workspace, 'is_late')
    emit(status == 'online' and 'WORKSPACE_ONLINE' or 'WORKSPACE_DEGRADED', nil, nil, {
      was = was, error_rate = tostring(error_rate), wedged = wedged,
    }, status == 'degraded' and (wedged and 'wedged' or 'error_rate') or nil)
  end
  return status
end
