-- Lets a request in: finds its token and counts the request against the token's rate.
-- What is left of the rate is one number: when everything taken so far will be given back. A
-- minute's worth may come at once; then one more with each interval.
-- known: 1 where the token is not a stored one. An unknown token is not counted and leaves nothing.
-- pace_there counts in one workspace (there), where one is named that exists and that the token
-- reaches with one of the scopes (empty: any): who names others', or makes names up, gets no new
-- count with each. Nothing is counted where that hangs on what stands elsewhere: whether a team
-- reaches, and what a browser's login is counted as.
-- @keys tokens workspaces pace pace_there pace_told limited
-- @args digest known limit_per_min bucket there scopes
-- @returns {"admitted", record, now ms}
-- @returns {"uncounted", record, now ms}: ask again with known=1, the reach looked up
-- @returns {"unknown"}
-- @returns {"limited", record, now ms, retry after ms, requests of the last minute, 1: to be logged}
-- @include base
local MINUTE_US = 60000000
local record = redis.call('HGET', K.tokens, A.digest)
if not record and A.known ~= '1' then return {'unknown'} end
local limit = tonumber(A.limit_per_min)
if limit == 0 then return {'admitted', record or '', NOW} end
local token = A.known ~= '1' and cjson.decode(record)
if token and token.parent and token.parent ~= cjson.null then return {'uncounted', record, NOW} end
local function any_of(own, wanted)
  for _, one in ipairs(own) do
    if wanted[one] then return true end
  end
  return false
end
local function reached()
  if A.there == '' or not redis.call('ZSCORE', K.workspaces, A.there) then return false end
  if not token then return true end
  local sufficient, is_any = {}, A.scopes == '[]'
  for _, scope in ipairs(cjson.decode(A.scopes)) do sufficient[scope] = true end
  if not is_any and not any_of(token.scopes, sufficient) then return false end
  return any_of(token.workspaces, {['*'] = true, [A.there] = true}) or nil
end
local is_reached = reached()
local is_of_team = token and token.teams and #token.teams > 0
if is_reached == nil and is_of_team then return {'uncounted', record, NOW} end

-- Takes nothing away, but as the first write: a full Redis lets the rest through, and beats go on.
redis.call('HDEL', K.limited, '')
local pace, time = is_reached and K.pace_there or K.pace, redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local interval_us = math.floor(MINUTE_US / limit)
local function note(until_us) redis.call('SET', pace, string.format('%.0f', until_us), 'PX', 61000) end
local latest, taken_until = now_us + MINUTE_US, tonumber(redis.call('GET', pace) or 0)
if taken_until > latest then note(latest) end -- the clock was set back since
taken_until = math.min(taken_until, latest)
local free_at = math.max(now_us, taken_until) + interval_us
if free_at - now_us > limit * interval_us then
  local over_us = free_at - now_us - limit * interval_us
  redis.call('HINCRBY', K.limited, A.bucket, 1)
  local is_first = redis.call('SET', K.pace_told, '1', 'NX', 'PX', 60000)
  local taken = math.ceil((free_at - now_us) / interval_us)
  return {'limited', record or '', NOW, math.ceil(over_us / 1000), taken, is_first and 1 or 0}
end
note(free_at)
return {'admitted', record or '', NOW}
