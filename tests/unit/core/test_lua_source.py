"""How a script is put together: what it reaches, what it is passed, what is refused at load."""

import pytest

from app.core import scripts
from app.core.lua_source import ScriptFault, assemble, bind

PARTS = {
    "base": """-- What all need.
-- @keys log
-- @args kept
local LIMITS = {
  few = 1,
}
local PLAIN = 7

local function note(text) redis.call('LPUSH', K.log, text) end -- one line

-- Not every script trims.
local function trim()
  if A.kept ~= '' then redis.call('LTRIM', K.log, 0, LIMITS.few) end
end
""",
    "more": """-- More.
-- @keys spare
-- @include base
local function both(text)
  note(text)
  trim()
end

local function never() return redis.call('GET', K.spare) end
""",
}


def test_a_script_carries_what_it_reaches_and_nothing_else() -> None:
    made = assemble("one", "-- @include more\nnote('trim both never')\n", PARTS)
    assert "local function note" in made.source
    for name in ("trim", "both", "never", "LIMITS", "PLAIN"):
        assert f"local function {name}(" not in made.source
        assert f"local {name} =" not in made.source
    assert (made.keys, made.args) == (("log",), ())


def test_what_is_reached_only_through_another_is_carried_too() -> None:
    made = assemble("one", "-- @include more\nboth('x')\n", PARTS)
    assert "local function trim()" in made.source
    assert "local LIMITS = {\n  few = 1,\n}" in made.source
    assert (made.keys, made.args) == (("log",), ("kept",))
    assert made.source.index("function note") < made.source.index("function both")


def test_names_become_places_in_the_order_of_the_headers() -> None:
    source = "-- @keys b a\n-- @args y x\nreturn {K.a, K.b, A.x, A.y, t.K.a, 'K'}\n"
    made = assemble("one", source, {})
    assert made.source.endswith("return {KEYS[2], KEYS[1], ARGV[2], ARGV[1], t.K.a, 'K'}\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("return K.elsewhere", "K.elsewhere"),
        ("return A.elsewhere", "A.elsewhere"),
        ("return K.an_arg", "K.an_arg"),
        ("return K['a_' .. 'key']", "K"),
        ("for name in pairs(A) do return name end", "A"),
    ],
)
def test_what_no_header_declares_is_refused_at_load(line: str, told: str) -> None:
    source = "-- @keys a_key\n-- @args an_arg\n"
    with pytest.raises(ScriptFault, match=rf"^one: no header declares {told}$"):
        assemble("one", source + line + "\n", {})
    assemble("one", source + "return K.a_key .. A.an_arg -- K and A.elsewhere\n", {})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("local function one()\n  return 1\nend -- tail\nlocal function two()\nend\n", "end"),
        ("local NAMES = {'a',\n  'b'}\n", "end"),
        ('return "-- " .. A.x\n', "single quotes"),
        ("return [[it's]] .. A.x\n", "single quotes"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_at_load(line: str, told: str) -> None:
    """Rather than left out, to fail on the one path that needs it."""
    with pytest.raises(ScriptFault, match=told):
        assemble("one", "-- @args x\n" + line, {})


def test_what_is_joined_to_a_text_is_a_name_and_a_field_is_none() -> None:
    made = assemble("one", "-- @include base\n-- @args x\nreturn 'a'..A.x..PLAIN..t.note\n", PARTS)
    assert made.source.endswith("return 'a'..ARGV[1]..PLAIN..t.note\n")
    assert "local PLAIN = 7" in made.source
    assert "function note" not in made.source


def test_an_alteration_is_bound_as_its_script_is() -> None:
    assert bind("K.a == A.x", ["b", "a"], ["x"]) == "KEYS[2] == ARGV[1]"
    assert bind("K.unknown", ["a"], []) == "K.unknown"


@pytest.mark.parametrize("name", sorted(scripts.load()))
def test_every_script_is_passed_only_what_it_uses(name: str) -> None:
    script = scripts.load()[name]
    for letter, names in (("KEYS", script.keys), ("ARGV", script.args)):
        for at in range(1, len(names) + 1):
            assert f"{letter}[{at}]" in script.source, names[at - 1]
