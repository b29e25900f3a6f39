"""The agent of the first report: its first session never ends by itself, the others are short.

It takes no notice of a wish to save and exit, as the reported one took none of anything.
"""

import sys
import threading
from pathlib import Path

STEP_S = 0.1


def main(argv: list[str]) -> int:
    """Take the hold, if it is there, and keep it until told to let go; then say the prompt."""
    folder, prompt = Path(argv[0]), argv[1]
    clock = threading.Event()
    try:
        (folder / "hold").rename(folder / "held")
    except FileNotFoundError:
        print(prompt)
        return 0
    tools = 0
    while not (folder / "let-go").exists():
        tools += 1
        print(f"tool call {tools}", flush=True)
        clock.wait(STEP_S)
    print(prompt)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
