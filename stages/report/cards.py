"""One card a row: picture or own columns, what the machine thinks, the id to copy; within a budget of bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import escape

from pipeline.neighbours import Neighbours
from stages.report.nearness import SHOWN, argument
from stages.report.rows import Indices, LabelRows, row_of
from stages.report.words import clip, plainly

LONGEST_TEXT = 240
LONGEST_NAME = 80
CARD_BYTES = 900  # what the template writes around a card's own words


class Thumbnails(Protocol):
    """Where small pictures come from."""

    def of(self, sample_id: str) -> str | None:
        """Return a picture as a data URI, None where there is none."""

    def tiny(self, sample_id: str) -> str | None:
        """Return it in a few hundred bytes."""


@dataclass(frozen=True)
class Support:
    """What the nearest rows say: how many for, against and in all, and a few of them to look at."""

    votes_for: int
    votes_against: int
    near: int
    pictures_for: tuple[str, ...] = ()
    pictures_against: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """One row as the page shows it."""

    sample_id: str
    picture: str | None
    given: str
    target: str
    likely: tuple[tuple[str, float], ...]
    fields: tuple[tuple[str, str], ...]
    note: str = ""
    support: Support | None = None

    def size(self) -> int:
        """Guess the bytes of this card on the page."""
        words = [self.sample_id * 2, self.given, self.target, self.note, *(name for name, _ in self.likely)]
        words += [part for pair in self.fields for part in pair]
        near = (*self.support.pictures_for, *self.support.pictures_against) if self.support else ()
        return (
            CARD_BYTES
            + len(self.picture or "")
            + sum(len(uri) + 30 for uri in near)
            + len(escape("".join(words)).encode())
        )


@dataclass
class Budget:
    """The bytes that cards may take; what does not fit is counted, so that the page can say so."""

    left: float
    left_out: int = 0

    def fitting(self, cards: Iterable[Card]) -> list[Card]:
        """Keep the cards that fit, in order."""
        kept = []
        for card in cards:
            if card.size() <= self.left:
                self.left -= card.size()
                kept.append(card)
            else:
                self.left_out += 1
        return kept


@dataclass(frozen=True)
class CardMaker:
    """Turn row numbers into cards."""

    rows: LabelRows
    pictures: Thumbnails | None = None
    own: pa.Table | None = None
    columns: Sequence[str] = ()
    neighbours: Neighbours | None = None
    seen: dict[tuple[int, str], Card] = field(default_factory=dict)

    def cards(self, indices: Iterable[int], note: str = "") -> list[Card]:
        """Make the cards of some rows."""
        return [self.card(int(index), note) for index in indices]

    def card(self, index: int, note: str = "") -> Card:
        """Make the card of one row (once)."""
        if (index, note) not in self.seen:
            self.seen[index, note] = self._make(index, note)
        return self.seen[index, note]

    def name(self, label: int) -> str:
        """Name a class, shortened."""
        return clip(self.rows.classes[label], LONGEST_NAME) if label >= 0 else "no label"

    def words(self, index: int) -> tuple[str, str]:
        """Say how a row came and what it became."""
        given, target = self.name(int(self.rows.given[index])), self.name(int(self.rows.target[index]))
        sure = f"{100 * float(self.rows.confidence[index]):.0f}\u202f%"
        return (given if given == target else f"{given} → {target}"), sure

    def text(self, index: int, length: int) -> str:
        """Read the user's own columns of a row as one line."""
        sample_id = self.rows.table["sample_id"][index].as_py()
        return clip(" · ".join(value for _, value in self._fields(sample_id)), length)

    def _make(self, index: int, note: str) -> Card:
        row = row_of(self.rows.table, index)
        return Card(
            sample_id=row["sample_id"],
            picture=self.pictures.of(row["sample_id"]) if self.pictures else None,
            given=self.name(int(self.rows.given[index])),
            target=self.name(int(self.rows.target[index])),
            likely=self._likely(row, int(self.rows.given[index])),
            fields=self._fields(row["sample_id"]),
            note=note,
            support=self._support(index),
        )

    def _support(self, index: int) -> Support | None:
        if self.neighbours is None:
            return None
        found = argument(self.rows, self.neighbours, index)
        counts = (len(found.votes_for), len(found.votes_against), found.near)
        return Support(*counts, self._tiny(found.votes_for), self._tiny(found.votes_against)) if found.near else None

    def _tiny(self, rows: Indices) -> tuple[str, ...]:
        if self.pictures is None:
            return ()
        ids = (self.rows.table["sample_id"][int(row)].as_py() for row in rows[:SHOWN])
        return tuple(uri for sample_id in ids if (uri := self.pictures.tiny(sample_id)))

    def _likely(self, row: Mapping[str, Any], given: int) -> tuple[tuple[str, float], ...]:
        """Name the three best answers, the given label among them."""
        best = list(zip(row["top_labels"], row["top_probs"], strict=True))[:3]
        if given >= 0 and row["given_confidence"] is not None and given not in [label for label, _ in best]:
            best = [*best[:2], (given, row["given_confidence"])]
        return tuple((self.name(label), float(prob)) for label, prob in best)

    def _fields(self, sample_id: str) -> tuple[tuple[str, str], ...]:
        if self.own is None:
            return ()
        at = pc.index(self.own["sample_id"], pa.scalar(sample_id, self.own["sample_id"].type)).as_py()
        if at < 0:
            return ()
        row = row_of(self.own.select(list(self.columns)), at)
        return tuple((clip(n, 40), clip(plainly(v), LONGEST_TEXT)) for n, v in row.items() if v not in (None, ""))
