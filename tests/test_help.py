"""What `--help` says of each command and option."""

from __future__ import annotations

import re

import pytest

from sim_eval.commands.cli import COMMANDS, load
from sim_eval.config.help import help_text
from sim_eval.config.options import options_of
from sim_eval.config.samplers import MEANINGS, SHIPPED, SamplerOptions, form_of
from sim_eval.samplers import Unsteered
from tests.commands import Call


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [80, 110])
def test_every_option_is_explained_within_the_terminal(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    command = load(name)
    text = help_text(command.Options, command.USAGE)
    body = text[len(command.USAGE) + len("usage: ") :]
    assert all(len(line) <= width for line in body.splitlines())
    for option, declared in options_of(command.Options).items():
        assert re.search(rf"^  {re.escape(option)}[=.]", text, re.MULTILINE), option
        assert " ".join(declared.help.split()) in " ".join(text.split()), option
        assert declared.help[0] != " "


@pytest.mark.parametrize("name", COMMANDS)
def test_a_sampler_is_described_where_it_can_be_chosen(name: str) -> None:
    command = load(name)
    text = " ".join(help_text(command.Options, command.USAGE).split())
    for sampler in SHIPPED:
        assert (form_of(sampler).summary in text) == issubclass(command.Options, SamplerOptions)


def test_every_field_of_a_sampler_has_a_meaning() -> None:
    assert {field for name in SHIPPED for field in form_of(name).fields} == MEANINGS.keys()


def test_a_form_is_what_the_sampler_is() -> None:
    form = form_of("unsteered")
    assert form.target == f"sim_eval.samplers.{Unsteered.__name__}"
    assert form.config() == {"_target_": form.target, "steps": Unsteered().steps}
    assert set(form_of("qpilots_m").needs) == {"denoiser", "critic", "posterior"}


def test_options_of_the_same_name_have_their_own_meanings() -> None:
    learn, train = options_of(load("learn").Options), options_of(load("train").Options)
    assert learn["steps"].help == "environment steps to play, steered"
    assert train["demos"].help == "number of demonstrations"
    assert train["critic.demos"].help.startswith("robomimic files")
    assert "critic" not in learn
    assert "engine" not in options_of(load("serve").Options)


def test_without_a_command_nothing_runs(call: Call) -> None:
    status, out, _ = call()
    assert status == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert call("--help")[1] == out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(call: Call, name: str) -> None:
    status, out, err = call(name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: sim-eval {name}")


def test_an_unknown_command_is_named(call: Call) -> None:
    status, _, err = call("evalute")
    assert status == 2
    assert "evalute is no command; accepted: evaluate, " in err
    assert err.endswith("(did you mean evaluate?)\n")
