"""What a bench says of its figures: percentiles, verdicts, exit status, and the file that is kept."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import CASES, run_case
from bench.cases.pauses import TAKEN
from bench.exchange import WATCH
from bench.material import data_offset, wav_samples
from bench.report import (
    CaseReport,
    Machine,
    Report,
    Row,
    Share,
    Spread,
    Target,
    exit_status,
    file_stem,
    machine,
    spread,
    table,
    verdict,
)
from bench.yardstick import NOISY_STATUS, Sample, Yardstick

CARD = Machine(
    cpu="Example(R) CPU @ 2.50GHz",
    cores=2,
    memory_gib=8.0,
    system="Linux 6.1",
    python="3.11.2",
    packages={},
    commit="abc1234",
    profile="pico",
    date="2026-01-31",
)
TARGET = Target("first audio", "p95", 60.0)


def row(p95: float = 50.0, noise: float = 0.05, figure: str = "first audio") -> Row:
    return Row("text →", 1, 40, {figure: Spread(40, 20.0, p95, p95, p95)}, noise, (TARGET,))


def report(*rows: Row, failed: tuple[str, ...] = ()) -> Report:
    return Report(CARD, 40, (CaseReport("turn", rows, {"process start to ready": 1500.0}),), failed)


@pytest.mark.parametrize(
    ("values", "p50", "p95", "p99", "worst"),
    [
        ([7.0], 7, 7, 7, 7),
        ([1.0, 2.0], 1, 2, 2, 2),
        ([float(n) for n in range(1, 101)], 50, 95, 99, 100),
        ([float(n) for n in range(200, 0, -1)], 100, 190, 198, 200),
        ([1.0] * 39 + [900.0], 1, 1, 900, 900),
    ],
)
def test_percentiles_are_values_that_occurred(
    values: list[float], p50: float, p95: float, p99: float, worst: float
) -> None:
    assert spread(values) == Spread(len(values), p50, p95, p99, worst)


def test_no_values_have_no_percentiles() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


@pytest.mark.parametrize(
    ("measured", "says", "status"),
    [
        (row(p95=60.0), "met", 0),
        (row(p95=60.1), "missed", 1),
        (row(p95=60.1, noise=0.31), "not measured: noisy", NOISY_STATUS),
        (row(p95=10.0, noise=0.31), "not measured: noisy", NOISY_STATUS),
        (row(figure="first token"), "not measured", 1),
    ],
)
def test_a_noisy_machine_is_neither_a_pass_nor_a_fail(measured: Row, says: str, status: int) -> None:
    assert verdict(measured, TARGET) == says
    assert exit_status(report(measured)) == status


def test_figures_of_the_answered_half_alone_are_no_measurement() -> None:
    half = msgspec.structs.replace(row(p95=10.0), turns=80)
    assert verdict(half, TARGET) == "not measured"
    assert exit_status(report(half)) == 1


def test_a_missed_target_counts_more_than_noise_elsewhere() -> None:
    assert exit_status(report(row(p95=99.0), row(noise=0.9))) == 1


def test_a_case_that_broke_is_a_failure() -> None:
    assert exit_status(report(row(), failed=("http",))) == 1
    assert "http broke" in table(report(row(), failed=("http",)))


def test_the_table_names_machine_figure_and_verdict() -> None:
    text = table(report(row(p95=61.0)))
    assert "commit abc1234" in text
    assert "process start to ready 1500 ms" in text
    assert "| text → first audio | 1 | 40 | 20.0 | 61.0 | 61.0 | 61.0 | p95 ≤ 60: missed |" in text


def test_other_units_are_named_and_what_is_missing_is_said() -> None:
    wire = Row("riposte →", 1, 5, {"CPU a frame": Spread(5, 3.01, 3.5, 3.5, 1234.5)}, 0.0, unit="µs")
    case = CaseReport("wire", (wire,), missing={"picows": "`make bench` installs it"})
    text = table(Report(CARD, 40, (case,)))
    assert "| riposte → CPU a frame (µs) | 1 | 5 | 3.01 | 3.50 | 3.50 | 1,234 |" in text
    assert "beside picows: not installed: `make bench` installs it" in text


def test_the_load_curve_is_a_picture_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from bench.picture import draw, draw_load

    rows = [
        Row(f"{clock} →", n, 8, {"first audio": Spread(8, 20.0, 30.0 * n, 99.0, 99.0)}, 0.0)
        for n in (1, 4)
        for clock in ("text", "end")
    ]
    load = Report(CARD, 40, (CaseReport("load", tuple(rows)),))
    draw(load, tmp_path / "bars.svg")
    assert not (tmp_path / "bars.svg").exists()
    draw_load(load, tmp_path / "load.svg")
    assert "sessions that type and speak" in (tmp_path / "load.svg").read_text()


def test_a_share_is_judged_in_per_cent() -> None:
    target = Target("taken for an end", "share", 2.0)
    for count, says in ((1, "met"), (2, "missed")):
        pauses = Row("unfinished:", 4, 50, {}, 0.05, (target,), shares={target.figure: Share(count, 50)})
        assert verdict(pauses, target) == says
        text = table(Report(CARD, 50, (CaseReport("pauses", (pauses,)),)))
        assert (
            f"| unfinished: taken for an end | 4 | 50 | {count} | {2 * count}.0 | share ≤ 2: {says} |" in text
        )


def test_patience_is_a_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from bench.picture import draw_pauses

    rows = []
    for patience in ("0", "0.3", "1"):
        for kind in ("unfinished", "finished"):
            rows.append(Row(f"{kind}, patience {patience}:", 4, 9, {}, 0.0, shares={TAKEN: Share(3, 9)}))
        rows.append(Row(f"unpaused, patience {patience} →", 1, 9, {WATCH: Spread(9, 1, 2, 3, 4)}, 0.0))
    draw_pauses(Report(CARD, 9, (CaseReport("pauses", tuple(rows)),)), tmp_path / "curve.svg")
    assert "0.3 (default)" in (tmp_path / "curve.svg").read_text()
    draw_pauses(Report(CARD, 9, (CaseReport("pauses", tuple(rows[:2])),)), tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_a_report_survives_its_file() -> None:
    kept = msgspec.json.encode(report(row()))
    assert msgspec.json.decode(kept, type=Report) == report(row())


def test_the_file_is_named_after_date_profile_and_machine() -> None:
    assert file_stem(CARD) == "2026-01-31-pico-example-2-cores"


def test_the_machine_card_names_no_folder() -> None:
    card = msgspec.json.encode(machine("pico")).decode()
    assert str(Path.home()) not in card
    assert str(Path.cwd()) not in card


def test_the_yardstick_compares_with_its_own_best() -> None:
    yardstick = Yardstick()
    yardstick.samples = [Sample(10.5, 10.0), Sample(14.0, 11.0)]
    assert yardstick.off(yardstick.samples[0]) == pytest.approx(0.05)
    assert yardstick.off(*yardstick.samples) == pytest.approx(0.40)


def test_the_yardstick_measures_something() -> None:
    yardstick = Yardstick()
    sample = yardstick.measure()
    assert sample.cpu_ms > 0
    assert sample.wall_ms >= yardstick.reference_ms * 0.5


def test_a_case_that_ends_badly_has_no_report() -> None:
    assert run_case("nothing", "fake", 1) is None
    assert "nothing" not in CASES


def test_a_streamed_wav_is_read_whatever_length_it_claims() -> None:
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 22050, 44100, 2, 16)
    wav = head + b"data\xff\xff\xff\xff" + struct.pack("<3h", 1, -2, 3) + b"\x00"  # cut inside a sample
    assert data_offset(head) is None
    rate_hz, samples = wav_samples(wav)
    assert rate_hz == 22050
    assert samples.tolist() == [1, -2, 3]
