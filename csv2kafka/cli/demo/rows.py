"""The demo's rows: written to a CSV with all that makes CSV hard, and counted by their numbers when read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from attrs import define, field

COLUMNS = ("row", "ordered_at", "customer", "city", "product", "amount", "note")
CUSTOMERS = ("Müller, Lena", "O'Hara", 'Zoë "Zo" Åberg', "李小龍", "Smith & Sons, Ltd.")
PRODUCTS = ('Pipe, 5" × 2 m', "Crème brûlée, 4 pieces", "Bolt M8, zinc-plated, 100 pieces", "Light bulb")
CITIES = ("Zürich", "São Paulo", "東京", "Kraków", "New York, NY")
NOTES = ("", "paid", 'said "later", then paid', "two\nlines", "three\r\nlines, with a comma\nand an ending", "🚚 left")


def write_csv(path: Path, rows: int) -> None:
    """``rows`` data rows, numbered from 1 in the column ``row``, the same every time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(
            (
                number,
                f"2024-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:00Z",
                CUSTOMERS[number % len(CUSTOMERS)],
                CITIES[number // 3 % len(CITIES)],
                PRODUCTS[number // 5 % len(PRODUCTS)],
                f"{number * 7919 % 1_000_000 / 100:.2f}",
                NOTES[number % len(NOTES)],
            )
            for number in range(1, rows + 1)
        )


@define
class Tally:
    """What the numbers read back say: of ``expected`` rows, how many are missing, extra, or too late."""

    expected: int
    doubled: int = 0
    out_of_order: int = 0
    _seen: bytearray = field(init=False)
    _highest: int = 0

    def __attrs_post_init__(self) -> None:
        self._seen = bytearray(self.expected + 1)

    @property
    def lost(self) -> int:
        return self.expected - self._seen.count(1)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.out_of_order)

    def add(self, value: bytes) -> None:
        """A record's value. One whose number is not of the CSV counts as doubled: there should be no more."""
        number = int(json.loads(value)["row"])
        if not 1 <= number <= self.expected or self._seen[number]:
            self.doubled += 1
            return
        self._seen[number] = 1
        self.out_of_order += number < self._highest
        self._highest = max(self._highest, number)
