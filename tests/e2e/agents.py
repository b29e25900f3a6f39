"""Commands that a runtime runs here, as Python source; each is given its turn's prompt first."""

import sys

IGNORE = "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
# Writes its own pid and that of a child in a session of its own; SIGKILL alone ends either.
DEAF = IGNORE + (
    "import os, pathlib, subprocess, sys, time\n"
    "if sys.argv[1] == 'quick': sys.exit(print('quick'))\n"
    f"rest = {IGNORE!r} + 'import time; time.sleep(9999)'\n"
    "child = subprocess.Popen([sys.executable, '-c', rest], start_new_session=True)\n"
    "pathlib.Path(sys.argv[2]).write_text(f'{os.getpid()} {child.pid}')\n"
    "time.sleep(9999)\n"
)
STOPPED = (
    "import os, pathlib, signal, sys\n"
    "pathlib.Path(sys.argv[2]).write_text(f'{os.getpid()}')\n"
    "os.kill(os.getpid(), signal.SIGSTOP)\n"
)
# PyDLL keeps the interpreter's lock: no thread of this process runs meanwhile.
LOCKED = "import ctypes, sys\nctypes.PyDLL(None).sleep(int(sys.argv[1]))\nprint('done')\n"
# Waits for its control file, leaves a note, exits; given a note, it goes on from there.
OBEDIENT = (
    "import json, os, pathlib, time\n"
    "turn = json.loads(pathlib.Path(os.environ['TURNKEEPER_TURN_FILE']).read_text())\n"
    "if turn['checkpoint']:\n"
    "    raise SystemExit(print('went on:', turn['checkpoint']['next_step']))\n"
    "control = pathlib.Path(os.environ['TURNKEEPER_CONTROL_FILE'])\n"
    "while not control.exists(): time.sleep(0.02)\n"
    "wish = json.loads(control.read_text())\n"
    "note = {'summary': wish['deadline_at'], 'next_step': 'the other half'}\n"
    "pathlib.Path(os.environ['TURNKEEPER_CHECKPOINT_FILE']).write_text(json.dumps(note))\n"
    "print('saved')\n"
)


def python(source: str, *words: str) -> tuple[str, ...]:
    """The command that runs a source with its prompt and these words."""
    return (sys.executable, "-c", source, "{prompt}", *words)
