-- Appends an event in the same step as the change it tells of, counts it, wakes who waits.
-- A payload that came as JSON text goes on as it came: decoding it would turn [] into {}.
-- What an open line still owes is trimmed by trim.lua alone, which looks where that begins.
-- @keys events stats wake owed
-- @args events_kept
-- @include base
local is_owed -- whether an open line may still owe some event; asked once

local function emit(event, turn, session, payload, mechanism)
  local text = type(payload) == 'table' and cjson.encode(payload) or payload or '{}'
  local fields = {'event', event, 'payload', text}
  local function add(name, value)
    if value then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  add('turn_id', turn and turn.id)
  add('session_id', session and session.id)
  add('fence', session and session.fence)
  add('mechanism', mechanism)
  if is_owed == nil then is_owed = redis.call('EXISTS', K.owed) == 1 end
  local id
  if is_owed then
    id = redis.call('XADD', K.events, '*', unpack(fields))
  else
    id = redis.call('XADD', K.events, 'MAXLEN', '~', A.events_kept, '*', unpack(fields))
  end
  redis.call('HINCRBY', K.stats, event, '1')
  redis.call('PUBLISH', K.wake, id .. ' ' .. event .. ' ' .. (turn and turn.id or ''))
  return id
end
