-- A store of memories: one workspace's own, a team's, or everybody's; each has a slot of its own.
-- Its sequence rises with every write and every removal, so "newer than" needs no clock.
-- @keys policy memories memory_texts memory_order memory_gone memory_names
-- @args scope team
-- @include event
local GONE_KEPT = 1000

local function name_of(memory) return memory.key and memory.namespace .. '\n' .. memory.key end

-- The change as an event of the store's own stream; a workspace's own store is its own stream.
local function tell(memory, change)
  local session = memory.session_id and {id = memory.session_id} or nil
  return emit('POLICY_CHANGED', nil, session, {
    scope = A.scope, team = A.team ~= '' and A.team or nil, memory_id = memory.id,
    memory_seq = memory.seq, version = memory.version, change = change,
  })
end

-- Keeps the record under the next number of the sequence.
local function keep_memory(memory, bytes)
  memory.seq, memory.at = redis.call('HINCRBY', K.policy, 'seq', 1), NOW
  redis.call('HINCRBY', K.policy, 'bytes', bytes - memory.bytes)
  memory.bytes = bytes
  redis.call('HSET', K.memories, memory.id, cjson.encode(memory))
end

-- Removed memories are remembered for a while: who saw one has to learn that it is gone.
local function forget_oldest()
  local over = redis.call('ZCARD', K.memory_gone) - GONE_KEPT
  if over <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', K.memory_gone, 0, math.min(over, 5) - 1)) do
    local memory = read(K.memories, id)
    redis.call('ZREM', K.memory_gone, id)
    redis.call('HDEL', K.memories, id)
    if memory and memory.key then redis.call('HDEL', K.memory_names, name_of(memory)) end
  end
end
