"""How benchmarks report: measured ratios against goals, as a rich table for people and as JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

_REACHED: Final = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


@dataclass(frozen=True)
class Verdict:
    """One goal: `ratio` is ours to the floor's, the median over `rounds`; `spread` the ratios' lowest and highest."""

    name: str
    ours: float
    floor: float
    unit: str
    ratio: float
    spread: tuple[float, float]
    rounds: int
    goal: float | None
    at_most: bool

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is on the right side of the goal; None where there is no goal."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def as_json(self) -> dict[str, object]:
        """Return the verdict's fields and whether the goal was reached."""
        return asdict(self) | {"reached": self.reached}


def compare(
    name: str, pairs: Sequence[tuple[float, float]], unit: str, goal: float | None, *, at_most: bool
) -> Verdict:
    """Return the verdict over rounds of (ours, floor): the median of the rounds' ratios, not the ratio of medians."""
    ratios = [ours / floor for ours, floor in pairs]
    return Verdict(
        name=name,
        ours=round(median(ours for ours, _ in pairs), 3),
        floor=round(median(floor for _, floor in pairs), 3),
        unit=unit,
        ratio=round(median(ratios), 3),
        spread=(round(min(ratios), 3), round(max(ratios), 3)),
        rounds=len(pairs),
        goal=goal,
        at_most=at_most,
    )


def show(title: str, verdicts: Sequence[Verdict]) -> None:
    """Print the table."""
    table = Table(title=title)
    for column in ("", "ours", "floor", "ratio", "lowest - highest", "rounds", "goal", "reached"):
        table.add_column(column, justify="left" if column in {"", "reached"} else "right")
    for each in verdicts:
        table.add_row(
            each.name,
            f"{each.ours:.2f} {each.unit}",
            f"{each.floor:.2f} {each.unit}",
            f"{each.ratio:.2f}",
            f"{each.spread[0]:.2f} - {each.spread[1]:.2f}",
            str(each.rounds),
            "" if each.goal is None else f"{'<=' if each.at_most else '>='} {each.goal}",
            _REACHED[each.reached],
        )
    Console().print(table)
