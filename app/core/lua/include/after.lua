-- The order of event ids.
local function place(id)
  local at, number_of = string.match(id, '^(%d+)%-?(%d*)$')
  return tonumber(at), tonumber(number_of) or 0
end

local function is_after(id, other)
  local at, number_of = place(id)
  local other_at, other_number = place(other)
  return at > other_at or (at == other_at and number_of > other_number)
end
