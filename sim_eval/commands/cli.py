"""The console command: `sim-eval COMMAND option=value ...`. Its first words choose a file of sim_eval/commands/."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sim_eval.foundation.errors import RunError

#: The commands, in the order of `sim-eval --help`.
COMMANDS = (
    *("evaluate", "compare", "render", "view", "export", "plan", "list", "doctor"),
    *("data", "train", "train-vla", "sweep", "learn", "probe", "serve"),
)


def main() -> None:
    """Run the command of `sys.argv`.

    A user error ends with one line and status 2, as does an output that cannot be written; an
    interruption with status 130. Any other exception is a defect and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode shows an escape, and no traceback
            stream.reconfigure(errors="backslashreplace")
    # matplotlib warns if it cannot cache its list of fonts in the home folder; nothing here needs that list.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except ValueError as error:
        if not _is_users(error):
            raise
        print(f"sim-eval: error: {_on_one_line(str(error))}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted; what was written is kept", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # the reader of the output has closed it
        _leave_output()
        status = 1
    except OSError:
        if (why := _output_fails()) is None:
            raise
        print(f"sim-eval: error: the output cannot be written: {why}", file=sys.stderr)
        _leave_output()
        status = 2
    sys.exit(status)


def _output_fails() -> str | None:
    """Why nothing can be printed, as on a full disk; None if it can."""
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")  # a text that failed may be gone from the buffer
    except OSError as error:
        return error.strerror
    return None


def _leave_output() -> None:
    """Write what is left to nowhere, or Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit status. Raises RunError, PolicyError and TaskError for a user's errors."""
    if "--version" in arguments:
        from importlib.metadata import version

        print(f"sim-eval {version('sim-eval')}")
        return 0
    asked = any(argument in ("-h", "--help") for argument in arguments)
    words = [argument for argument in arguments if argument not in ("-h", "--help")]
    if not words or words[0] == "help":
        print(_overview())
        return 0
    # `sim-eval task=can` is an evaluation.
    name, options = ("evaluate", words) if "=" in words[0] else (words[0], words[1:])
    command = load(name)
    if asked or (_takes_sources(command) and not options):
        from sim_eval.config.help import help_text

        print(help_text(command.Options, command.USAGE), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    status: int = command.run(read_command(name, options))
    return status


def load(name: str) -> ModuleType:
    """The module of a command. Raises RunError for an unknown one."""
    import importlib

    if name not in COMMANDS:
        from sim_eval.config.values import did_you_mean

        raise RunError(f"{name} is no command; accepted: {', '.join(COMMANDS)}{did_you_mean(name, COMMANDS)}")
    return importlib.import_module(f"sim_eval.commands.{name.replace('-', '_')}")


def read_command(name: str, arguments: Sequence[str]) -> Any:
    """The options of a command. Raises RunError naming the option, its value and what is accepted."""
    from sim_eval.config.command_line import read

    command = load(name)
    if hasattr(command, "read"):
        return command.read(arguments)
    kind = command.Options
    fields = kind.__dataclass_fields__
    if "folder" in fields:
        if not arguments:
            raise RunError(f"a run folder is missing; accepted: sim-eval {name} DIR [option=value ...]")
        return read(kind, arguments[1:], folder=_place(arguments[0]))
    if "sources" in fields:  # files and folders may have a `=` in their names
        options = [argument for argument in arguments if "=" in argument and not os.path.exists(argument)]
        return read(kind, options, sources=tuple(_place(name) for name in arguments if name not in options))
    if "what" in fields and arguments and "=" not in arguments[0]:
        arguments = [f"what={arguments[0]}", *arguments[1:]]
    return read(kind, arguments)


def _place(argument: str) -> Path:
    """A run folder or a file. Raises RunError for a path that none can have."""
    from sim_eval.config.values import check_path

    check_path("the path", Path(argument))
    return Path(argument)


def _takes_sources(command: ModuleType) -> bool:
    return bool({"folder", "sources"} & command.Options.__dataclass_fields__.keys())


def _overview() -> str:
    from sim_eval.config.help import entry, terminal_width

    lines = ["usage: sim-eval COMMAND [option=value ...]", "       sim-eval COMMAND --help", ""]
    for name in COMMANDS:
        summary = (load(name).__doc__ or "").partition("\n")[0]
        lines += entry(name, summary, terminal_width(), column=14)
    return "\n".join([*lines, "", "`sim-eval task=can` is `sim-eval evaluate task=can`."])


def _on_one_line(text: str) -> str:
    """The text with what a terminal does not print, such as an argument's line break, as Python writes it."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _is_users(error: ValueError) -> bool:
    """Whether the error is the user's. Imports late, where an interruption is caught."""
    if isinstance(error, RunError):
        return True
    from policies.errors import PolicyError
    from tasks.task import TaskError

    return isinstance(error, PolicyError | TaskError)
