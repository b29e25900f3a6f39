-- Trims the event stream by age and by count, but no event that an open line still owes, and not
-- the newest: where the stream ends stays known. Behind open lines a call trims a page; `more` says
-- that another would trim more.
-- @keys events owed push
-- @args events_kept events_kept_ms page_count
-- @returns {"ok", events trimmed, open lines, push configurations, more 0|1}
-- @include base
local oldest = redis.call('ZRANGE', K.owed, 0, 0, 'WITHSCORES')[2]
local owed_ms = oldest and tonumber(oldest)
local newest = redis.call('XREVRANGE', K.events, '+', '-', 'COUNT', 1)[1]
local newest_ms = newest and tonumber(string.match(newest[1], '^(%d+)')) or 0
local before = math.min(NOW - tonumber(A.events_kept_ms), owed_ms or newest_ms, newest_ms)
local trimmed = redis.call('XTRIM', K.events, 'MINID', string.format('%.0f', math.max(0, before)))
local excess = redis.call('XLEN', K.events) - tonumber(A.events_kept)
local open, pushes = redis.call('ZCARD', K.owed), redis.call('HLEN', K.push)
if excess <= 0 then return {'ok', trimmed, open, pushes, 0} end
if not owed_ms then
  trimmed = trimmed + redis.call('XTRIM', K.events, 'MAXLEN', '~', A.events_kept)
  return {'ok', trimmed, open, pushes, 0}
end
local page = redis.call('XRANGE', K.events, '-', '+', 'COUNT', math.min(excess, tonumber(A.page_count)))
local last_ms = tonumber(string.match(page[#page][1], '^(%d+)'))
local bound = string.format('%.0f', math.min(last_ms, owed_ms))
local cut = redis.call('XTRIM', K.events, 'MINID', '~', bound)
return {'ok', trimmed + cut, open, pushes, (cut > 0 and cut < excess) and 1 or 0}
