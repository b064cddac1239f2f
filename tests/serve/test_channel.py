from __future__ import annotations

from penstock.serve.channel import Message, hear, pair, say


def test_messages_arrive_one_by_one_and_the_end_is_heard_last() -> None:
    ours, theirs = pair()
    assert hear(ours) == []
    said = [Message("alive"), Message("serve", number=3, now=True), Message("drain", rolling=True)]
    for message in said:
        assert say(theirs, message)
    theirs.close()
    assert hear(ours) == said
    assert hear(ours) is None
    assert not say(ours, Message("alive"))
