-- Reads a store at one moment, newest first: below the sequence number `before`, up to so many
-- memories and bytes of text; the first is always read. Changes nothing.
-- @keys policy memories memory_texts memory_order
-- @args before max_count max_bytes
-- @returns {"read", sequence, memories in all, bytes in all, more below 0|1, record, text, …}
local facts = redis.call('HMGET', K.policy, 'seq', 'bytes')
local reply = {'read', tonumber(facts[1] or 0), redis.call('ZCARD', K.memory_order), tonumber(facts[2] or 0), 0}
local top = A.before == '' and '+inf' or '(' .. A.before
local count, bytes, left = 0, 0, tonumber(A.max_count)
while reply[5] == 0 do
  local page = redis.call('ZREVRANGEBYSCORE', K.memory_order, top, '-inf', 'LIMIT', count, 50)
  for _, id in ipairs(page) do
    local text = redis.call('HGET', K.memory_texts, id) or ''
    bytes = bytes + #text
    if left == 0 or (count > 0 and bytes > tonumber(A.max_bytes)) then
      reply[5] = 1
      break
    end
    reply[#reply + 1] = redis.call('HGET', K.memories, id)
    reply[#reply + 1] = text
    count, left = count + 1, left - 1
  end
  if #page < 50 then break end
end
return reply
