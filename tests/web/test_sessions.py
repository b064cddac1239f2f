"""The cookie names a session and carries nothing else; what we did not sign names none."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from penstock.web.sessions import Session, Sessions

SESSION = Session(identity="anna", token="pst_secret", expires_at=time.time() + 86_400)


def test_a_session_is_found_until_it_ends() -> None:
    sessions = Sessions()
    cookie = sessions.start(SESSION)
    assert sessions.find(cookie) == SESSION
    assert "pst_secret" not in cookie
    assert "anna" not in cookie
    sessions.end(cookie)
    assert sessions.find(cookie) is None
    sessions.end(cookie)


def test_an_expired_session_is_none() -> None:
    sessions = Sessions()
    assert sessions.find(sessions.start(Session(identity="anna", expires_at=time.time() - 1))) is None


def test_two_processes_do_not_share_sessions() -> None:
    assert Sessions().find(Sessions().start(SESSION)) is None


@given(st.text(max_size=200))
def test_what_we_did_not_sign_is_none(cookie: str) -> None:
    sessions = Sessions()
    real = sessions.start(SESSION)
    assert sessions.find(cookie) is None
    assert sessions.find(real[:-1] + ("0" if real[-1] != "0" else "1")) is None


def test_old_sessions_make_room() -> None:
    sessions = Sessions()
    first = sessions.start(SESSION)
    cookies = [sessions.start(SESSION) for _ in range(1000)]
    assert sessions.find(first) is None
    assert sessions.find(cookies[-1]) == SESSION
