"""A real child process that behaves like a small agent: works about three seconds, then answers."""

import sys
import threading

STEPS = ("reading the request", "looking things up", "writing the answer")
STEP_S = 1.0


def main(argv: list[str]) -> int:
    """Print some progress, echo what was asked, answer."""
    asked = " ".join(argv).strip() or sys.stdin.read().strip()
    clock = threading.Event()
    try:
        for number, step in enumerate(STEPS, start=1):
            print(f"working ({number}/{len(STEPS)}): {step}", flush=True)
            clock.wait(STEP_S)
    except KeyboardInterrupt:
        print("asked to stop: nothing is half done", flush=True)
        return 130
    print(f"You asked: {asked}", flush=True)
    print(f"Done: the demo agent answered {len(asked.split())} words.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
