"""Charts drawn on the server: well-formed, without styles, and readable without seeing them."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from app.core.states import TRANSITIONS
from app.ui import svg
from app.ui.svg import Mark, Series

STATES = [*TRANSITIONS, "missed", "skipped"]


def parsed(text: str) -> ElementTree.Element:
    found = ElementTree.fromstring(text)  # noqa: S314 - our own
    assert "style" not in text.replace("styled", "")
    assert found.attrib["role"] == "img"
    assert found.attrib["aria-label"]
    return found


@given(st.lists(st.tuples(st.sampled_from(STATES), st.text(max_size=20)), max_size=100))
def test_a_strip_shows_the_last_sixty_and_says_them_in_words(fires: list[tuple[str, str]]) -> None:
    told = [
        (state, title.encode("ascii", "ignore").decode().replace("\x00", ""))
        for state, title in fires
    ]
    told = [(state, "".join(c for c in title if c.isprintable())) for state, title in told]
    found = parsed(svg.strip(told))
    assert len(list(found)) == min(len(fires), 60)
    for state, _ in told[-60:]:
        assert state.replace("_", " ") in found.attrib["aria-label"]


def test_text_of_others_cannot_leave_its_place() -> None:
    found = parsed(svg.strip([("failed", "</title><script>x</script>")]))
    assert [one.tag for one in found.iter()] == ["svg", "rect", "title"]


def test_bands_stand_on_one_another_and_the_highest_fits() -> None:
    found = parsed(svg.chart("depth", [Series("a", [1, 2]), Series("b", [3, 2])], is_stacked=True))
    shapes = [one.attrib["points"] for one in found]
    assert len(shapes) == 2
    assert "4" in shapes[1].split()[0].split(",")[1]  # the sum is the top: 4 units below the edge
    heights = [float(point.split(",")[1]) for shape in shapes for point in shape.split()]
    assert min(heights) >= 0
    assert max(heights) <= svg.HEIGHT


def test_an_empty_chart_is_one_too() -> None:
    parsed(svg.chart("nothing", []))
    parsed(svg.chart("nothing", [Series("a", [])], is_stacked=True))
    parsed(svg.timeline([], ["sessions"], 0, 1))


def test_marks_outside_the_window_are_cut_to_it() -> None:
    marks = [Mark("sessions", -50, 50, "good", "a"), Mark("sessions", 100, None, "bad", "b")]
    found = [one for one in parsed(svg.timeline(marks, ["sessions"], 0, 100)) if one.tag == "rect"]
    spans = [(float(one.attrib["x"]), float(one.attrib["width"])) for one in found]
    assert all(x >= 0 and x + width <= 2 * svg.WIDTH for x, width in spans)
