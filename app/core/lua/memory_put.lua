-- Writes a memory, or a new version of the one that has its key; a repeat changes nothing.
-- put_id names this write: the same one again is answered with what it wrote.
-- @keys workspace live
-- @args put_id digest record text bytes count_max
-- @returns {"written" | "replayed", record, live sessions of the store's workspace}
-- @returns refused: workspace_not_found, workspace_removed, idempotency_conflict, memories_full
-- @include memory refusal
local PUTS_KEPT = 20
if A.scope == 'LOCAL' then
  local status = redis.call('HGET', K.workspace, 'status')
  if not status then return refuse('workspace_not_found') end
  if status == 'removed' then return refuse('workspace_removed') end
end
local given = cjson.decode(A.record)
local id = given.key and redis.call('HGET', K.memory_names, name_of(given)) or A.put_id
local known = read(K.memories, id)
for _, put in ipairs(known and known.puts or {}) do
  if put == A.put_id .. ' ' .. A.digest then
    return {'replayed', cjson.encode(known), redis.call('ZCARD', K.live)}
  end
  if string.sub(put, 1, #A.put_id + 1) == A.put_id .. ' ' then return refuse('idempotency_conflict') end
end

local is_new = not known or known.gone
local count = redis.call('ZCARD', K.memory_order)
if is_new and count >= tonumber(A.count_max) then
  local facts = {
    mechanism = 'memories_count', limit_count = tonumber(A.count_max), measured_count = count,
    setting = 'TURNKEEPER_MEMORIES_MAX_COUNT', scope = A.scope,
  }
  tell_refusal('LIMIT_HIT', 'memories_count', nil, nil, facts, 'memories_count')
  facts.untold_count = nil
  return refuse('memories_full', facts)
end

given.id, given.puts, given.bytes = id, known and known.puts or {}, known and known.bytes or 0
given.version, given.created_at = (known and known.version or 0) + 1, known and known.created_at or NOW
given.puts[#given.puts + 1] = A.put_id .. ' ' .. A.digest
if #given.puts > PUTS_KEPT then table.remove(given.puts, 1) end
given.created_seq = is_new and (number(redis.call('HGET', K.policy, 'seq')) or 0) + 1 or known.created_seq
keep_memory(given, tonumber(A.bytes))
redis.call('HSET', K.memory_texts, id, A.text)
redis.call('ZADD', K.memory_order, given.seq, id)
redis.call('ZREM', K.memory_gone, id)
if given.key then redis.call('HSET', K.memory_names, name_of(given), id) end
tell(given, 'written')
return {'written', cjson.encode(given), redis.call('ZCARD', K.live)}
