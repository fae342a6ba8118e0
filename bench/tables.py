"""Figures as a table in the terminal."""

from rich.console import Console
from rich.table import Table


def table(console: Console, title: str, heading: tuple[str, ...], *rows: tuple[str, ...]) -> None:
    shown = Table(*heading, title=title, title_justify="left")
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    console.print()
