"""The filter's program, run by an interpreter of its own: what it answers to each call, on both processors."""

from __future__ import annotations

import errno

import pytest

from penstock.runtime.walls import gate
from penstock.runtime.walls.seccomp import Instruction, program
from penstock.runtime.walls.syscalls import CONDITIONAL, DENIED, LAST_KNOWN

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
COLUMN = {"x86_64": 0, "aarch64": 1}
ALLOW, REFUSE, UNKNOWN, KILL = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000
PID = 4711


def answer(
    machine: str, number: int, *arguments: int, architecture: int | None = None, of: list[Instruction] | None = None
) -> int:
    """Classic BPF, as far as the filter uses it."""
    words = [number, ARCHITECTURE[machine] if architecture is None else architecture, 0, 0]
    for argument in (*arguments, *[0] * (6 - len(arguments))):
        words += [argument & 0xFFFFFFFF, argument >> 32]
    lines, at, held = of or program(machine, PID), 0, 0
    while True:
        code, true, false, operand = lines[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            held = words[operand // 4]
            continue
        met = {0x15: held == operand, 0x25: held > operand, 0x45: bool(held & operand)}[code]
        at += true if met else false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def number(machine: str, name: str) -> int:
    return CONDITIONAL[name][COLUMN[machine]]


def test_every_denied_call_is_refused_and_the_rest_allowed(machine: str) -> None:
    denied = {pair[COLUMN[machine]] for group in DENIED.values() for pair in group.values()} - {-1}
    decided = {pair[COLUMN[machine]] for pair in CONDITIONAL.values()}
    assert not denied & decided
    for call in range(LAST_KNOWN + 1):
        if call not in decided:
            assert answer(machine, call) == (REFUSE if call in denied else ALLOW), call


def test_numbers_are_not_given_twice(machine: str) -> None:
    numbers = [pair[COLUMN[machine]] for group in DENIED.values() for pair in group.values()]
    numbers = [call for call in numbers if call >= 0]
    assert len(numbers) == len(set(numbers))


def test_another_processors_calls_end_the_process_and_newer_calls_are_unknown(machine: str) -> None:
    assert answer(machine, 1, architecture=0x40000003) == KILL
    assert answer(machine, LAST_KNOWN + 1) == UNKNOWN
    assert answer(machine, 0x40000000 | 59) == UNKNOWN, "the x32 numbers are a way around"


def test_threads_are_allowed_and_processes_are_not(machine: str) -> None:
    clone = number(machine, "clone")
    assert answer(machine, clone, 0x3D0F00) == ALLOW, "what pthread_create asks for"
    assert answer(machine, clone, 0x1200011) == REFUSE, "what fork asks for"
    assert answer(machine, clone, 0x10000 | 0x10000000) == REFUSE, "a thread with a user namespace"
    assert answer(machine, number(machine, "clone3")) == UNKNOWN


def test_it_may_signal_itself_alone(machine: str) -> None:
    for name in ("kill", "tgkill"):
        call = number(machine, name)
        assert answer(machine, call, PID, 9) == ALLOW
        for other in (0, 1, PID + 1, (1 << 64) - 1):
            assert answer(machine, call, other, 9) == REFUSE
    limits = number(machine, "prlimit64")
    assert [answer(machine, limits, pid) for pid in (0, PID, PID + 1)] == [ALLOW, ALLOW, REFUSE]


def test_it_sends_over_its_channel_only(machine: str) -> None:
    send = number(machine, "sendto")
    assert answer(machine, send, 3, 1, 1, 0, 0, 0) == ALLOW
    assert answer(machine, send, 3, 1, 1, 0, 0x7FFF00001000, 16) == REFUSE
    assert answer(machine, send, 3, 1, 1, 0, 0x7FFF00000000, 16) == REFUSE, "an address whose lower half is empty"


@pytest.mark.parametrize(
    ("name", "place", "refused", "allowed"),
    [
        ("prctl", 0, (1, 4, 35, 0x59616D61), (15, 16, 22, 38)),
        ("fcntl", 1, (8, 10, 15), (1, 2, 3, 4, 1030)),
        ("ioctl", 1, (0x8901, 0x8902, 0x5412), (0x5401, 0x541B)),
    ],
)
def test_side_doors_are_shut(
    machine: str, name: str, place: int, refused: tuple[int, ...], allowed: tuple[int, ...]
) -> None:
    call = number(machine, name)
    for value in refused:
        assert answer(machine, call, *[0] * place, value) == REFUSE
    for value in allowed:
        assert answer(machine, call, *[0] * place, value) == ALLOW


@pytest.mark.parametrize("alone", [False, True])
def test_a_template_may_do_little_more_than_a_worker(machine: str, alone: bool) -> None:
    lines = program(machine, PID, template=True, alone=alone)
    opened = {DENIED["reach other machines and processes"]["recvmsg"][COLUMN[machine]]}
    decided = {pair[COLUMN[machine]] for pair in CONDITIONAL.values()}
    for call in set(range(LAST_KNOWN + 1)) - decided - opened:
        assert answer(machine, call, of=lines) == answer(machine, call), call
    clone, prctl = number(machine, "clone"), number(machine, "prctl")
    assert answer(machine, clone, 0x3D0F00, of=lines) == ALLOW, "a thread"
    assert answer(machine, clone, 0x8011, of=lines) == ALLOW, "a process that is its parent's child"
    assert answer(machine, clone, 0x1200011, of=lines) == REFUSE, "a process of its own"
    assert answer(machine, clone, 0x8011 | 0x10000000, of=lines) == REFUSE, "a user namespace"
    assert answer(machine, prctl, 1, 9, of=lines) == ALLOW
    for words in ((1, 0), (1, 15), (4, 1), (35, 1), (0x59616D61, 1)):
        assert answer(machine, prctl, *words, of=lines) == REFUSE
    assert answer(machine, prctl, 22, 2, of=lines) == ALLOW
    for name in ("kill", "tgkill"):
        assert answer(machine, number(machine, name), PID, 9, of=lines) == ALLOW
        assert answer(machine, number(machine, name), PID + 1, 9, of=lines) == (ALLOW if alone else REFUSE)
    for name, words in (
        ("fcntl", (3, 8)),
        ("ioctl", (3, 0x5412)),
        ("prlimit64", (PID + 1,)),
        ("sendto", (3, 1, 1, 0, 1)),
    ):
        assert answer(machine, number(machine, name), *words, of=lines) == REFUSE


def test_the_gate_asks_for_processes_and_for_nothing_else(machine: str) -> None:
    lines = gate.program(machine)
    clone = number(machine, "clone")
    assert answer(machine, clone, 0x3D0F00, of=lines) == ALLOW, "a thread"
    for flags in (0x8011, 0x11, 0x1200011, 0x4111):
        assert answer(machine, clone, flags, of=lines) == 0x7FC00000
    assert all(answer(machine, call, of=lines) == ALLOW for call in range(LAST_KNOWN + 1) if call != clone)
