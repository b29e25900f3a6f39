"""forecast.lua: whether the schedules need too much, told once each way."""

from tests.contract.refusals import forecast, removed
from tests.support.kernel import Kernel

PAYLOAD = {"limit_percent": 100, "measured_percent": 140, "reason": "too much"}


def test_forecast_tells_once_that_the_need_has_passed_and_once_that_it_is_back(
    kernel: Kernel,
) -> None:
    assert forecast(kernel, is_over=False) == ["same"], "it was not over"
    assert [forecast(kernel) for _ in range(3)] == [["over"], ["same"], ["same"]]
    (told,) = kernel.events("LIMIT_HIT")
    assert told["mechanism"] == "forecast"
    assert told["payload"] == {**PAYLOAD, "setting": "schedule.ceiling_s", "advice": "less"}
    assert int(kernel.field("forecast_over_at") or 0) <= kernel.now_ms()
    back = [forecast(kernel, is_over=False, measured_percent=80) for _ in range(2)]
    assert back == [["within"], ["same"]]
    told = kernel.events("WORKSPACE_CHANGED")[-1]
    assert (told["mechanism"], told["payload"]["measured_percent"]) == ("forecast", 80)
    assert told["payload"]["changed"] == "forecast"
    assert kernel.field("forecast_over_at") is None
    assert forecast(kernel) == ["over"], "and again"


def test_forecast_of_a_removed_workspace_tells_nothing(kernel: Kernel) -> None:
    gone = removed(kernel)
    count = len(gone.events())
    assert forecast(gone) == ["same"]
    assert len(gone.events()) == count


def test_control_forecast_without_its_compare_tells_at_every_look(bare: Kernel) -> None:
    deaf = bare.altered("forecast", "was_over == (A.is_over == '1')", "false")
    assert [forecast(deaf) for _ in range(2)] == [["over"], ["within"]]
