-- What every script needs: server time, optional arguments, refusals.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local NOW = now_ms()
local NOW_TEXT = string.format('%.0f', NOW) -- Redis formats a number anew for each command

-- An argument as a number, or nil where it was left out.
local function number(text)
  if text == nil or text == false or text == '' then return nil end
  return tonumber(text)
end

local function refuse(code, fields)
  return {'refused', code, fields and cjson.encode(fields) or ''}
end

local function read(key, id)
  local text = redis.call('HGET', key, id)
  return text and cjson.decode(text) or nil
end
