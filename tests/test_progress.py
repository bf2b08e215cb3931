"""What a person is told of a download while it runs."""

from __future__ import annotations

from weighbridge.cli.progress import Meter, lasting
from weighbridge.store import Progress


def test_progress_says_how_fast_and_how_long() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    lines = []
    for second in range(1, 5):
        now[0] = float(second)
        lines.append(meter.line(Progress(total=100 << 20, present=10 << 20, received=second * (9 << 20))))
    assert lines[-1] == "46.0 MiB of 100.0 MiB, 9.0 MiB/s, 6 s left"
    now[0] += 0.01
    assert meter.line(Progress(total=1, present=0, received=0)) is None
    assert [lasting(5), lasting(65), lasting(7300)] == ["5 s", "1 min 05 s", "2 h 01 min"]
