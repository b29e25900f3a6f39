-- Removes a memory; what is left of it says only that it is gone. A repeat changes nothing.
-- @keys live
-- @args memory_id session_id
-- @returns {"deleted" | "replayed", record, live sessions of the store's workspace}
-- @returns refused: memory_not_found
-- @include memory
local memory = read(K.memories, A.memory_id)
if not memory then return refuse('memory_not_found', {memory_id = A.memory_id}) end
if memory.gone then return {'replayed', cjson.encode(memory), redis.call('ZCARD', K.live)} end
memory.gone, memory.session_id = true, A.session_id ~= '' and A.session_id or nil
keep_memory(memory, 0)
redis.call('HDEL', K.memory_texts, memory.id)
redis.call('ZREM', K.memory_order, memory.id)
redis.call('ZADD', K.memory_gone, memory.seq, memory.id)
tell(memory, 'deleted')
forget_oldest()
return {'deleted', cjson.encode(memory), redis.call('ZCARD', K.live)}
