"""The checkpoints of a folder by their cards. No weights are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import check_fields, read_json
from sim_eval.models.store import ALL_TASKS

#: Fields without which a card cannot be listed.
_REQUIRED = {"kind": str, "task": str, "config": dict[str, Any], "weights_sha256": str}


@dataclass(frozen=True)
class Card:
    """A checkpoint: its weights' path, and its card, empty if it cannot be read, which `problem` then explains."""

    path: Path
    card: Mapping[str, Any]
    problem: str = ""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def kind(self) -> str:
        """ "policy", "critic", "posterior", "noise_actor" or "edit_actor"; empty if the card cannot be read."""
        return str(self.card.get("kind", ""))

    @property
    def family(self) -> str:
        """The family of a policy for one task; "mini_vla" of one for all tasks."""
        return str(self.card["config"].get("family", "mini_vla"))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The full names of the tasks that a policy was trained for."""
        task = str(self.card["task"])
        return tuple(self.card.get("demonstrations", ())) if task == ALL_TASKS else (task,)

    @property
    def megabytes(self) -> float:
        """Size of the weights, MB."""
        return self.path.stat().st_size / 1e6


class CheckpointRow(NamedTuple):
    """A folder with the MB of all its weights, or below it a checkpoint, indented, with its MB and what it is."""

    checkpoint: str
    MB: str
    what: str


def read_cards(root: Path) -> list[Card]:
    """The checkpoints in `root` and in its folders, sorted by path. Raises RunError if there is none."""
    found = sorted([*root.glob("*.safetensors"), *root.glob("*/*.safetensors")])
    if not found:
        raise RunError(f"checkpoints is {root}, which holds no *.safetensors; accepted: a folder of checkpoints")
    return [_read(path) for path in found]


def _read(path: Path) -> Card:
    if not path.with_suffix(".json").is_file():
        return Card(path, {}, f"without a card, {path.stem}.json")
    try:
        card = read_json(path.with_suffix(".json"), dict[str, Any])
        check_fields(path.with_suffix(".json").name, card, _REQUIRED)
    except RunError as error:
        return Card(path, {}, str(error))
    return Card(path, card)


def policies_of(cards: Iterable[Card]) -> dict[str, list[Card]]:
    """The policies' cards by name, sorted."""
    found: dict[str, list[Card]] = {}
    for card in sorted(cards, key=lambda card: card.name):
        if card.kind == "policy":
            found.setdefault(card.name, []).append(card)
    return found


def checkpoint_rows(root: Path) -> list[CheckpointRow]:
    """`root` and its folders, and below each its checkpoints. Raises RunError as `read_cards`."""
    cards = read_cards(root)
    rows = []
    for folder in sorted({card.path.parent for card in cards}):
        own = [card for card in cards if card.path.parent == folder]
        place = f"{folder.name}/" if folder != root else "./"
        rows.append(CheckpointRow(place, f"{sum(card.megabytes for card in own):.1f}", ""))
        rows += [CheckpointRow(f"  {card.name}", f"{card.megabytes:.1f}", _what(card, cards)) for card in own]
    return rows


def _what(card: Card, cards: Sequence[Card]) -> str:
    config = card.card.get("config", {})
    if card.problem:
        return card.problem
    if card.kind == "policy":
        return f"policy, {card.family}"
    if card.kind == "critic":
        return f"critic, {config.get('method', 'of no known method')}, {_policy(card, cards)}"
    if card.kind == "posterior":
        return f"posterior net {_policy(card, cards)}"
    return f"{card.kind} of sim-eval learn"


def _policy(card: Card, cards: Sequence[Card]) -> str:
    """For which policy a critic or posterior net was trained; some cards name its weights' SHA-256."""
    digest = card.card.get("policy_sha256")
    if digest is None:
        return "for the policies of its folder"
    names = sorted({other.name for other in cards if other.card.get("weights_sha256") == digest})
    return f"for {', '.join(names)}" if names else f"for a policy that is not here ({digest[:8]})"
