-- Files what has ended, the last to end last: also while the clock stands back of the one before.
-- @include base
local function file(set, id)
  local last = tonumber(redis.call('ZRANGE', set, -1, -1, 'WITHSCORES')[2] or 0)
  redis.call('ZADD', set, last > NOW and last + 1 or NOW_TEXT, id)
end
