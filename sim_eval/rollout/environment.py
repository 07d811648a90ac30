"""One simulated environment behind two commands, which turns a simulator's crash into a reply."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from policies.observation import ObservationRequest
from sim_eval.foundation.errors import in_one_line
from sim_eval.rollout.result import NOTHING, Spent
from tasks.mujoco_log import keep_log_out
from tasks.task import EpisodeKey, Observation, Task, TaskError, TaskSpec, can_save, cannot_save, checked_task

#: Builds the task; must pickle, as worker processes build their own. `functools.partial(tasks.make, "can")` does.
MakeTask = Callable[[], Task]


@dataclass(frozen=True)
class Reset:
    """Start the episode of this key.

    `request`: what to observe at each decision. `trace`: vectors to record at every control step, too. `limit`: control
    steps after which the episode ends, if the task does not end it before; None leaves that to the task.
    """

    key: EpisodeKey
    request: ObservationRequest
    trace: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Execute:
    """Execute actions (n, D) until they run out or the episode ends."""

    actions: np.ndarray


@dataclass(frozen=True)
class LookAhead:
    """Execute each of the chunks (N, n, D) from the present state, and come back to it.

    `names`: the vectors to observe where each chunk leads.
    """

    chunks: np.ndarray
    names: tuple[str, ...]


Command = Reset | Execute | LookAhead


@dataclass(frozen=True)
class Started:
    """The reply to `Reset`."""

    spec: TaskSpec
    state_hash: str
    observation: Observation
    trace: Observation
    spent: Spent = NOTHING


@dataclass(frozen=True)
class Ran:
    """The reply to `Execute`.

    `steps`: how many actions were executed. `observation`: for the next decision, None once the episode has ended.
    `trace`: the traced vectors of each step. `rewards`, `goals_met`: the task's of each step. `timed_out`: the episode
    ended because of a step limit alone.
    """

    steps: int
    success: bool
    done: bool
    observation: Observation | None
    trace: tuple[Observation, ...]
    rewards: tuple[float, ...] = ()
    goals_met: tuple[float | None, ...] = ()
    timed_out: bool = False
    spent: Spent = NOTHING


@dataclass(frozen=True)
class End:
    """Where a chunk led, or its part up to the first success or the episode's end.

    `steps`: how many actions were executed. `observation`: the vectors asked for, None after a success or an end.
    """

    steps: int
    success: bool
    observation: Observation | None


@dataclass(frozen=True)
class Foreseen:
    """The reply to `LookAhead`: an end for each chunk."""

    ends: tuple[End, ...]


@dataclass(frozen=True)
class Failed:
    """The episode crashed; the environment is built again for the next one."""

    error: str


@dataclass(frozen=True)
class Unbuildable:
    """The task cannot be built, or does not offer the observations or the look-ahead, so no episode can run.

    An environment that has started an episode before replies `Failed` to a `Reset` instead: others can run.
    """

    error: str


Reply = Started | Ran | Foreseen | Failed | Unbuildable


@dataclass
class Environment:
    """Keeps one task alive across episodes, and the last observations of the current episode."""

    make_task: MakeTask
    _task: Task | None = None
    _reset: Reset | None = None
    _history: deque[Observation] = field(default_factory=deque)
    _steps: int = 0  # of the episode under way
    _started: bool = False  # whether any episode has
    _drawing: float = 0.0  # seconds of the command under way

    def handle(self, command: Command) -> Reply:
        """Execute the command. Never raises: one episode's crash must not end the others in the same process."""
        begin, self._drawing = time.perf_counter(), 0.0
        reply = self._reply(command)
        if isinstance(reply, Started | Ran):
            reply = replace(reply, spent=Spent(time.perf_counter() - begin - self._drawing, self._drawing))
        if not isinstance(command, Reset):
            return reply
        self._started = self._started or isinstance(reply, Started)
        return Failed(reply.error) if isinstance(reply, Unbuildable) and self._started else reply

    def _reply(self, command: Command) -> Reply:
        if self._task is None:
            try:
                self._task = checked_task(self.make_task())
                keep_log_out()
            except (Exception, SystemExit) as error:
                reason = str(error) if isinstance(error, TaskError) else in_one_line(error)
                return Unbuildable(f"the task cannot be built: {reason}")
        try:
            if isinstance(command, Reset):
                return self._start(self._task, command)
            if isinstance(command, LookAhead):
                return self._look_ahead(self._task, command)
            return self._execute(self._task, command.actions)
        except (Exception, SystemExit) as error:  # whatever a simulator raises is this episode's error
            self.close()
            return Failed(in_one_line(error))

    def close(self) -> None:
        """Free the task. A broken simulator may fail at this too, which must not hide the first error."""
        task, self._task = self._task, None
        if task is not None:
            with contextlib.suppress(Exception):
                task.close()

    def _start(self, task: Task, command: Reset) -> Reply:
        if problem := _not_offered(task.spec, (*command.request.names, *command.trace)):
            return Unbuildable(problem)
        self._reset, self._steps, request = command, 0, command.request
        task.reset(command.key)
        first = self._observed(task, request)
        if lacking := [name for name in request.names if name not in first]:
            return Unbuildable(
                f"task {task.spec.name} was asked to observe {lacking[0]}, and its `observe` left it out"
            )
        self._history = deque([first] * request.history, maxlen=request.history)
        start = task.state_hash()
        if not isinstance(start, str):  # pairs are known by it
            return Unbuildable(f"task {task.spec.name}: `state_hash` gave a {type(start).__name__}; accepted: a str")
        return Started(task.spec, start, self._seen(), self._trace(task))

    def _execute(self, task: Task, actions: np.ndarray) -> Ran:
        """Observe only after the last steps, as many as the history holds: images dominate a rollout's cost."""
        assert self._reset is not None
        request, trace, rewards, goals_met = self._reset.request, [], [], []
        steps, success, done = 0, False, False
        for left, action in zip(reversed(range(len(actions))), actions, strict=True):
            if self._steps >= task.spec.max_steps:
                raise TaskError(f"task {task.spec.name} did not end after its {self._steps} steps, max_steps")
            outcome = task.step(action)
            self._steps += 1
            steps += 1
            rewards.append(float(outcome.reward))
            goals_met.append(None if outcome.goals_met is None else float(outcome.goals_met))
            success = success or bool(outcome.success)  # numpy's are not JSON's
            done = bool(outcome.done) or self._steps == self._reset.limit
            if self._reset.trace:
                trace.append(self._trace(task))
            if done:
                ended = outcome.success or (outcome.done and self._steps < task.spec.max_steps)
                return Ran(steps, success, done, None, tuple(trace), tuple(rewards), tuple(goals_met), not ended)
            if left < request.history:
                self._history.append(self._observed(task, request))
        return Ran(steps, success, done, self._seen(), tuple(trace), tuple(rewards), tuple(goals_met))

    def _look_ahead(self, task: Task, command: LookAhead) -> Foreseen | Unbuildable:
        """Leaves the history and the count of steps alone, too."""
        if not can_save(task):
            return Unbuildable(str(cannot_save(task)))
        if problem := _not_offered(task.spec, command.names):
            return Unbuildable(problem)
        present, ends = task.save(), []
        for chunk in command.chunks:
            ends.append(_end(task, chunk[: task.spec.max_steps - self._steps], command.names))
            task.restore(present)
        return Foreseen(tuple(ends))

    def _observed(self, task: Task, request: ObservationRequest) -> Observation:
        """What a decision sees."""
        begin = time.perf_counter()
        seen = task.observe(request)
        self._drawing += time.perf_counter() - begin
        return seen

    def _seen(self) -> Observation:
        """The latest observation; with a history, arrays stacked to (history, ...), oldest first."""
        if len(self._history) == 1:
            return self._history[0]
        latest = self._history[-1]
        return {
            name: value if isinstance(value, str) else np.stack([seen[name] for seen in self._history])
            for name, value in latest.items()
        }

    def _trace(self, task: Task) -> Observation:
        assert self._reset is not None
        return task.observe(ObservationRequest(self._reset.trace)) if self._reset.trace else {}


def _end(task: Task, chunk: np.ndarray, names: tuple[str, ...]) -> End:
    for steps, action in enumerate(chunk, 1):
        outcome = task.step(action)
        if outcome.success or outcome.done:
            return End(steps, bool(outcome.success), None)
    return End(len(chunk), False, task.observe(ObservationRequest(names)))


def _not_offered(spec: TaskSpec, names: Iterable[str]) -> str | None:
    """One line that names an observation that the task does not offer; None if it offers all."""
    images = [f"{camera}_image" for camera in spec.cameras]
    offered = [*spec.observations, *images, "instruction"]
    for name in names:
        if name not in offered:
            return f"task {spec.name} does not offer the observation {name}; it offers {', '.join(offered)}"
    return None
