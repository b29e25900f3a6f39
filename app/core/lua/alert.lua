-- Notes which conditions hold in a workspace, or of the platform; one that has held, or been gone,
-- for hold_ms is told, and the same one anew no earlier than repeat_ms after it was told.
-- @keys alerts
-- @args found hold_ms repeat_ms
-- @returns {"ok", alerts opened, alerts recovered}
-- @include event
local hold_ms, repeat_ms = tonumber(A.hold_ms), tonumber(A.repeat_ms)
local opened, recovered, holds = 0, 0, {}

local function keep(code, state)
  redis.call('HSET', K.alerts, code, cjson.encode(state))
end

for _, row in ipairs(cjson.decode(A.found)) do
  local code = row.condition
  local state = read(K.alerts, code) or {}
  holds[code] = true
  if state.opened_at then
    state.gone_at = nil
  else
    state.since = state.since or NOW
    local has_held = NOW - state.since >= hold_ms
    if has_held and (not state.told_at or NOW - state.told_at >= repeat_ms) then
      emit('ALERT_OPENED', nil, nil, {
        condition = code, severity = row.severity, sentence = row.sentence,
        setting = row.setting, limit_ms = row.limit_ms, measured_ms = row.measured_ms,
        limit_count = row.limit_count, measured_count = row.measured_count,
        suppressed_count = state.suppressed or 0,
      })
      opened = opened + 1
      state = {opened_at = NOW, told_at = NOW, severity = row.severity, sentence = row.sentence}
    elseif has_held and not state.counted then
      state.counted, state.suppressed = true, (state.suppressed or 0) + 1
    end
  end
  keep(code, state)
end

for _, code in ipairs(redis.call('HKEYS', K.alerts)) do
  local state = not holds[code] and read(K.alerts, code)
  if state and state.opened_at then
    state.gone_at = state.gone_at or NOW
    if NOW - state.gone_at >= hold_ms then
      emit('ALERT_RECOVERED', nil, nil, {
        condition = code, severity = state.severity, sentence = state.sentence,
        open_ms = state.gone_at - state.opened_at,
      })
      recovered = recovered + 1
      state = {told_at = state.told_at}
    end
    keep(code, state)
  elseif state and state.told_at and NOW - state.told_at < repeat_ms then
    keep(code, {told_at = state.told_at, suppressed = state.suppressed})
  elseif state then
    redis.call('HDEL', K.alerts, code)
  end
end
return {'ok', opened, recovered}
