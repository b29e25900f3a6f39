"""What all requests and answers are made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# The largest whole number that Lua and JavaScript hold exactly.
EXACT_MAX = 2**53 - 1

Text = Annotated[str, Field(max_length=262_144)]
Short = Annotated[str, Field(max_length=1024)]
Name = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=1, le=1000)]
Slots = Annotated[int, Field(ge=1, le=1000)]
Span = Annotated[float, Field(ge=0, le=31_536_000)]
Redeliver = Literal["on_loss", "never"]


class Strict(BaseModel):
    """A request body: an unknown field is a fault, so that a typo never passes for a setting.

    Nothing is converted either: "3" is no number.
    """

    model_config = ConfigDict(extra="forbid", strict=True)


class Lenient(BaseModel):
    """A body of the field platform: it sends more than we use."""

    model_config = ConfigDict(extra="allow")


class Ok(BaseModel):
    """It was done."""

    status: str = "ok"


class Page(BaseModel):
    """How many rows at most."""

    limit: Count = 50


class Reason(Strict):
    """Why; shown where the operator looks."""

    reason: Short = ""


class Health(BaseModel):
    """The process answers; ``ready``: it also reaches its store."""

    status: str
