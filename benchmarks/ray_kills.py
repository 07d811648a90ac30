"""Three machines, made of network namespaces, of which one part is killed at a random moment of each run.

    python -m benchmarks.ray_kills [tasks=can,libero_goal] [episodes=60] [kills=5] [seed=0]    as root

For each task a run that nothing disturbs, then `kills` runs in which a worker, a machine or the driver is killed with
SIGKILL; the machine comes back, the driver's command is repeated. Every run folder must then hold the records of
`workers=0`, each once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sim_eval.runs.records import RECORDS, read

BIN = Path(sys.executable).parent
MACHINES = (1, 2, 3)
PORT = 6379
#: Seconds between the first record of a run and the kill, at most.
LATEST_S = 20.0
_KILLED = ("worker", "machine", "driver")


def address(machine: int) -> str:
    return f"10.77.0.{machine}"


def run(*command: str, machine: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command, in a machine's namespace if one is given."""
    inside = () if machine is None else ("ip", "netns", "exec", f"ray{machine}")
    # As docs/many_machines.md says; and a busy machine starts the processes of Ray slowly.
    options = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": "300000"}
    return subprocess.Popen([*inside, *command], env={**os.environ, **options}, stdout=subprocess.DEVNULL)


def done(*command: str, machine: int | None = None) -> None:
    if status := run(*command, machine=machine).wait():
        raise SystemExit(f"{' '.join(command)} ended with status {status}")


def connect_machines() -> None:
    """A bridge, and a namespace for each machine with an address of its own."""
    done("ip", "link", "add", "raybridge", "type", "bridge")
    done("ip", "link", "set", "raybridge", "up")
    for machine in MACHINES:
        name, outer, inner = f"ray{machine}", f"rayout{machine}", f"rayin{machine}"
        done("ip", "netns", "add", name)
        done("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        done("ip", "link", "set", outer, "master", "raybridge", "up")
        done("ip", "addr", "add", f"{address(machine)}/24", "dev", inner, machine=machine)
        done("ip", "link", "set", inner, "up", machine=machine)
        done("ip", "link", "set", "lo", "up", machine=machine)


def disconnect_machines() -> None:
    for machine in MACHINES:
        for process in processes(machine):
            os.kill(process, signal.SIGKILL)
        run("ip", "link", "del", f"rayout{machine}").wait()  # a namespace that is not empty yet would keep it
        run("ip", "netns", "del", f"ray{machine}").wait()
    run("ip", "link", "del", "raybridge").wait()


def processes(machine: int, named: str = "") -> list[int]:
    """The processes in a machine's namespace whose command line holds `named`."""
    listed = subprocess.run(["ip", "netns", "pids", f"ray{machine}"], capture_output=True, text=True).stdout
    found = []
    for process in map(int, listed.split()):
        path = Path(f"/proc/{process}/cmdline")
        if path.exists() and named in path.read_bytes().replace(b"\0", b" ").decode():
            found.append(process)
    return found


def start_ray(machine: int) -> None:
    """Join the cluster, which the first machine heads, with one core."""
    place = ["--head", f"--port={PORT}"] if machine == 1 else [f"--address={address(1)}:{PORT}"]
    options = ["--num-cpus=1", "--object-store-memory=100000000", f"--node-ip-address={address(machine)}"]
    done(f"{BIN}/ray", "start", *place, *options, "--disable-usage-stats", machine=machine)


def evaluation(task: str, episodes: int, output: Path, *options: str) -> tuple[str, ...]:
    arguments = [f"task={task}", "samplers=[unsteered]", f"episodes={episodes}", "batch=4", f"output={output}"]
    return f"{BIN}/sim-eval", *arguments, *options


def outcomes(folder: Path) -> str:
    """SHA-256 of the sorted records without times."""
    lines = sorted(
        json.dumps([record.sampler, record.episode, record.state_hash, record.success, record.steps, record.q])
        for record in read(folder)
        if record.error is None
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def kill_and_finish(what: str, command: tuple[str, ...], folder: Path, after: float) -> None:
    """Run the command on the first machine, kill something `after` seconds behind the first record, and finish."""
    driver = run(*command, machine=1)
    while not (folder / RECORDS).exists() and driver.poll() is None:
        time.sleep(0.1)
    time.sleep(after)
    if what == "worker":
        os.kill(random.choice([pid for machine in MACHINES for pid in processes(machine, "ray::RayWorker")]), 9)
    elif what == "machine":
        for process in processes(3):
            os.kill(process, signal.SIGKILL)
        start_ray(3)
    else:
        os.kill(processes(1, str(folder))[0], signal.SIGKILL)
    if driver.wait() and run(*command, machine=1).wait():
        raise SystemExit(f"{' '.join(command)} failed after the {what} was killed")


def check(what: str, folder: Path, here: Path, episodes: int) -> None:
    """Say what the folder lacks, has twice, or has differently from the reference `here`."""
    times = Counter(json.loads(line)["episode"] for line in (folder / RECORDS).read_text().splitlines())
    print(
        f"{what}: {episodes - len(times)} of {episodes} lost, {sum(count > 1 for count in times.values())} doubled, "
        f"outcomes {'equal' if outcomes(folder) == outcomes(here) else 'DIFFER'}: {outcomes(folder)[:16]}",
        flush=True,
    )


def play(task: str, episodes: int, killed: Iterable[str], place: Path) -> None:
    here, undisturbed = place / "here", place / "undisturbed"
    done(*evaluation(task, episodes, here, "workers=0"))
    there = ("engine=ray", f"ray.address={address(1)}:{PORT}")
    done(*evaluation(task, episodes, undisturbed, *there), machine=1)
    check(f"{task}, nothing killed", undisturbed, here, episodes)
    for number, what in enumerate(killed):
        after = random.uniform(0, LATEST_S)
        folder = place / f"killed-{number}"
        kill_and_finish(what, evaluation(task, episodes, folder, *there), folder, after)
        check(f"{task}, {what} killed {after:.1f} s after the first record", folder, here, episodes)


def main(tasks: str, episodes: int, kills: int, seed: int) -> None:
    random.seed(seed)
    killed = itertools.cycle(_KILLED)
    connect_machines()
    try:
        for machine in MACHINES:
            start_ray(machine)
        for task in tasks.split(","):
            with tempfile.TemporaryDirectory() as place:
                play(task, episodes, itertools.islice(killed, kills), Path(place))
    finally:
        disconnect_machines()


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    counts = {"episodes": 60, "kills": 5, "seed": 0}
    main(given.get("tasks", "can,libero_goal"), **{name: int(given.get(name, count)) for name, count in counts.items()})
