-- What every script needs: server time, optional arguments, refusals.
local TIME = redis.call('TIME')
local NOW_TEXT = TIME[1] .. string.sub(string.format('%06d', TIME[2]), 1, 3) -- ms
local NOW = tonumber(NOW_TEXT) -- as a command's argument it would be formatted anew each time

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
