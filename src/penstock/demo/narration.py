"""How the demo speaks: numbered chapters, a line for each fact, a bar while something long runs; or silence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.rule import Rule


class Narrator:
    """Tells the story on a terminal; with `quiet` on standard error, so that standard output stays one JSON object.

    Args:
        quiet: Keep standard output free.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=quiet, highlight=False)
        self._started = time.monotonic()
        self._chapter = 0

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches."""
        return self._console.is_terminal

    def chapter(self, title: str) -> None:
        """Begin the next chapter."""
        self._chapter += 1
        elapsed = time.monotonic() - self._started
        self._console.print(
            Rule(f"[bold]{self._chapter}[/]  {title}  [dim]{elapsed:.0f} s[/]", align="left", style="dim")
        )

    def tell(self, text: str) -> None:
        """One fact."""
        self._console.print(f"   {text}")

    def good(self, text: str) -> None:
        """A fact that is as it should be."""
        self._console.print(f" [green]✓[/] {text}")

    def bad(self, text: str) -> None:
        """Something was refused, taken back or opened; in the demo that is what should happen."""
        self._console.print(f" [red]✗[/] {text}")

    def note(self, text: str) -> None:
        """Something a person should look at."""
        self._console.print(f" [yellow]![/] {text}")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner while something runs; a line where nobody watches."""
        if self.is_terminal:
            with self._console.status(f"  {text}"):
                yield
        else:
            self.tell(f"[dim]{text} …[/]")
            yield

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[ReplayBar]:
        """A bar over `total` requests."""
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[figures]}[/]"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, disable=not self.is_terminal, transient=True) as progress:
            yield ReplayBar(progress, progress.add_task(title, total=total, figures=""))


class ReplayBar:
    """One bar under way."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, done: int, figures: str) -> None:
        """How far, and what is seen."""
        self._progress.update(self._task, completed=done, figures=figures)
