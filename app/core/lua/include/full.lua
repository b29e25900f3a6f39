-- What may still be done when Redis has reached its maxmemory. It refuses a script at the first
-- write that may add something; one whose first write takes something away it lets through whole.
-- So what has begun goes on and ends, and nothing new begins.
-- @keys inbox live
-- @include base
-- Comes first where a session goes on or ends.
local function let_through() redis.call('ZREM', K.inbox, '') end

-- Comes first where one begins: it changes nothing, and is refused when there is no memory.
local function need_memory() redis.call('ZADD', K.live, 'XX', NOW_TEXT, '') end
