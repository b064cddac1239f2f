"""`penstock conformance`: does a server, whoever made it, keep the Open Inference Protocol V2?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from penstock.commands.screen import ERROR, REFUSED, Json, answering, err, out, progress, show, tell
from penstock.conformance.case import LEVELS, CaseLevel
from penstock.conformance.junit import to_junit
from penstock.conformance.kit import KitOptions
from penstock.conformance.opening import open_kit
from penstock.conformance.page import count_levels, render_page
from penstock.conformance.suite import CaseResult, ConformanceReport, chosen_cases, run_suite
from penstock.errors import BadConfig, PenstockError

LevelName = Annotated[str, typer.Option(help="Run cases down to this level: required, recommended or extension.")]
FailAt = Annotated[str, typer.Option(help="A deviation down to this level makes the exit code 1.")]


def run(
    url: Annotated[str, typer.Argument(metavar="URL", help="http://HOST:PORT, or grpc://HOST:PORT for gRPC alone.")],
    model: Annotated[str, typer.Option(help="Which model to ask; the first that the server lists.")] = "",
    grpc: Annotated[str, typer.Option(help="HOST:PORT of the same server's gRPC.")] = "",
    token: Annotated[str, typer.Option(envvar="PENSTOCK_TOKEN", help="A bearer's token.")] = "",
    level: LevelName = "extension",
    fail_at: FailAt = "required",
    example: Annotated[Path | None, typer.Option(help="A request (JSON) the model takes; values are its own.")] = None,
    no_rows: Annotated[bool, typer.Option("--no-rows", help="A free first dimension does not stand for rows.")] = False,
    most_rows: Annotated[int, typer.Option(min=1, help="Rows of a request, at most.")] = 5,
    allow_changes: Annotated[bool, typer.Option("--allow-changes", help="Unload and load the model, too.")] = False,
    only: Annotated[str, typer.Option(help="Only cases whose id has this part.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of values and random requests.")] = 0,
    examples: Annotated[int, typer.Option(min=1, max=100_000, help="Random requests of each property.")] = 20,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 10.0,
    report: Annotated[Path | None, typer.Option(help="Write a page for people here (.html).")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here, for CI.")] = None,
    json: Json = False,
) -> None:
    """Ask a server every case of the Open Inference Protocol; exit code 0 conforms, 1 deviates, 2 cannot be asked.

    Example: penstock conformance http://127.0.0.1:8000 --grpc 127.0.0.1:8001 --junit report.xml
    """
    with answering(json=json):
        try:
            chosen, failing = _level(level, "--level"), _level(fail_at, "--fail-at")
            rest, address = ("", url.removeprefix("grpc://")) if url.startswith("grpc://") else (url, grpc)
            options = KitOptions(
                url=rest.rstrip("/"),
                grpc=address,
                model=model,
                token=token,
                seed=seed,
                examples=examples,
                level=chosen,
                only=only,
                timeout_s=timeout,
                rows=not no_rows,
                most_rows=most_rows,
                changes=allow_changes,
                example=_read(example),
            )
            done = _asked(options, json=json)
        except PenstockError as error:
            # That there is nothing to judge is never the server's deviation.
            tell(error, json=json)
            raise typer.Exit(ERROR) from error
        if report is not None:
            report.write_text(render_page(done, failing), encoding="utf-8")
        if junit is not None:
            junit.write_bytes(to_junit(done, failing))
        show(done, json=json, text=lambda: _tell(done, failing))
        if done.fails(failing):
            raise typer.Exit(REFUSED)


def _asked(options: KitOptions, *, json: bool) -> ConformanceReport:
    kit = open_kit(options)
    cases = chosen_cases(options.level, options.only)
    if not cases:
        raise BadConfig("no case has this in its id", "ids are such as errors.json or grpc.infer.raw", where="--only")
    try:
        with progress("conformance", json=json or not err.is_terminal) as step:

            def told(result: CaseResult, number: int, of: int) -> None:
                step(f"{number} of {of}  {result.id}")

            return run_suite(kit, cases, told)
    finally:
        kit.close()


def _tell_one(result: CaseResult) -> None:
    """A deviation: what was expected, what came, where it is written, and a line that shows it."""
    colour = "red" if result.level == "required" else "yellow"
    out.print(f"[{colour}]✗ {result.level}[/]  [bold]{_plain(result.title)}[/]  [dim]{result.id}[/]")
    out.print(f"    but:     {_plain(result.reason)}")
    out.print(f"    answer:  {_plain(result.answer)}")
    out.print(f"    source:  {_plain(result.source)}")
    if result.note:
        out.print(f"    note:    [dim]{_plain(result.note)}[/]")
    out.print(f"    see it:  [cyan]{_plain(result.request)}[/]\n")


def _tell(done: ConformanceReport, failing: CaseLevel) -> None:
    """The deviations, then the counts, then the verdict."""
    for result in done.of("deviates"):
        _tell_one(result)
    for count in count_levels(done):
        left = f", {count.skipped} not asked" if count.skipped else ""
        mark = "[red]✗[/]" if count.deviating else "[green]✓[/]" if count.kept else "–"
        out.print(f"{mark} {count.level:<12} {count.kept:>3} of {count.kept + count.deviating} kept{left}")
    who = f"{done.server['name'] or 'the server'} {done.server['version']}".strip()
    verdict = "[red]deviates[/]" if done.fails(failing) else "[green]conforms[/]"
    out.print(f"[bold]{_plain(who)} {verdict}[/]: {len(done.results)} cases in {done.seconds:.1f} s, seed {done.seed}")


def _level(name: str, where: str) -> CaseLevel:
    for level in LEVELS:
        if name == level:
            return level
    raise BadConfig("there is no such level", f"there are {', '.join(LEVELS)}", where=where)


def _read(example: Path | None) -> Mapping[str, object] | None:
    """The example request.

    Raises:
        BadConfig: The file is not there, or holds no JSON object.
    """
    if example is None:
        return None
    try:
        return msgspec.json.decode(example.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError):
        raise BadConfig(
            "the example cannot be read", "give a file with an inference request", where="--example"
        ) from None


def _plain(text: str) -> str:
    """Text as it is: square brackets in it are no markup."""
    return text.replace("[", r"\[")
