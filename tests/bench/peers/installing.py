"""Puts the peers into a folder of their own, ``.venv/peers``; nothing of them enters the project's
environment or its locked requirements."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tests.bench.peers.known import Found, told_reason

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
FOLDER = ROOT / ".venv/peers"
PYTHON = FOLDER / "bin/python"
MODULES = FOLDER / "node_modules"
LISTS = (HERE / "requirements.txt", HERE / "package.json")
INSTALL_S = 600
PIP = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
# No package's own scripts run: one of them reports to its maker that it was installed.
NPM = ("npm", "install", "--prefix", str(FOLDER), "--ignore-scripts", "--no-package-lock")
NPM_QUIET = ("--no-fund", "--no-audit", "--loglevel=error")


def install() -> Found:
    """Install what is not there yet; a package that cannot be is left out, with its reason."""
    node, npm = shutil.which("node"), shutil.which("npm")
    state = hashlib.sha256(b"".join(path.read_bytes() for path in LISTS)).hexdigest()
    stamp, refusals = FOLDER / "stamp", dict[str, str]()
    if not stamp.exists() or stamp.read_text() != state:
        print(f"installing the peers into {FOLDER.relative_to(ROOT)}", file=sys.stderr, flush=True)
        refusals |= _install_python()
        if npm:
            refusals |= _install_node()
        if npm and node and not refusals:
            stamp.write_text(state)
    return Found(node, npm, _python_versions() | _node_versions(), refusals)


def _install_python() -> dict[str, str]:
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True, timeout=INSTALL_S)
    if not (_refusal([*PIP, "-r", str(LISTS[0])])):
        return {}
    wanted = [line for line in LISTS[0].read_text().split() if "==" in line]
    refused = {one.partition("==")[0]: _refusal([*PIP, one]) for one in wanted}
    return {name: reason for name, reason in refused.items() if reason}


def _install_node() -> dict[str, str]:
    shutil.copy(LISTS[1], FOLDER / "package.json")
    if not _refusal([*NPM, *NPM_QUIET]):
        return {}
    (FOLDER / "package.json").unlink()
    wanted = json.loads(LISTS[1].read_text())["dependencies"]
    refused = {
        name: _refusal([*NPM, *NPM_QUIET, f"{name}@{version}"]) for name, version in wanted.items()
    }
    return {name: reason for name, reason in refused.items() if reason}


def _refusal(argv: list[str]) -> str:
    """Why an installation failed; empty when it did not."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"not done within {INSTALL_S} s"
    return told_reason(done.stderr) if done.returncode else ""


def _python_versions() -> dict[str, str]:
    places = [str(place) for place in FOLDER.glob("lib/python*/site-packages")]
    found = metadata.distributions(path=places)
    return {re.sub("[-_.]+", "-", one.name).lower(): one.version for one in found}


def _node_versions() -> dict[str, str]:
    found = [json.loads(path.read_text()) for path in MODULES.glob("*/package.json")]
    found += [json.loads(path.read_text()) for path in MODULES.glob("@*/*/package.json")]
    return {one["name"]: one["version"] for one in found if "version" in one}


def restate_binary() -> Path | None:
    """The server that npm chose for this machine."""
    return next(MODULES.glob("@restatedev/restate-server-*/bin/restate-server"), None)
