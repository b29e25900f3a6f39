-- Says how far a store of memories has come: a claim that finds 0 has nothing to read there.
-- @keys policy
-- @returns {"read", sequence}
return {'read', tonumber(redis.call('HGET', K.policy, 'seq') or 0)}
