"""After any interruption, a second run sends what is missing, and nothing twice."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from metering_cli.importing import importer as importer_module
from metering_cli.importing import journal as journal_module
from metering_cli.importing.journal import Journal
from tests.unit.metering_cli.conftest import PROJECT, Importer, WriteCsv, age_journal
from tests.unit.metering_cli.stub_api import ALL_WELL, HANG_UP, StoreBut, StubApi, problem

THREE = ("one,seats,1", "two,seats,2", "three,seats,3")
THREE_STORED = [("one", "seats", 1), ("three", "seats", 3), ("two", "seats", 2)]
REFUSAL = problem(403, "Not you.")
LOST_ANSWER = StoreBut(HANG_UP)
TIMED_OUT = StoreBut(problem(504, "Endpoint request timed out."))
PROGRAM_SECONDS = 30


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up instead of sending a request again."""
    monkeypatch.setattr(importer_module, "PATIENCE_SECONDS", 0)


@pytest.mark.usefixtures("small_parts")
class TestTheSameLines:
    def test_a_finished_import_does_not_even_ask_the_api(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        importer.run(path)

        outcome = importer.run(path)

        assert outcome.exit_code == 0
        assert (outcome.summary["records_before"], outcome.summary["records_written"]) == (3, 0)
        assert len(api.received) == 3

    def test_an_import_that_stopped_in_the_middle_goes_on_from_there_even_days_later(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        api.script += [ALL_WELL, REFUSAL]
        stopped = importer.run(path)
        age_journal(path, hours=100)
        api.forget_keys()

        outcome = importer.run(path)

        assert (stopped.exit_code, stopped.summary["records_written"]) == (3, 1)
        assert outcome.exit_code == 0
        assert (outcome.summary["records_before"], outcome.summary["records_written"]) == (1, 2)
        assert api.usage() == THREE_STORED

    @pytest.mark.usefixtures("impatient")
    def test_a_request_without_an_answer_is_repeated_under_its_key(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        api.script += [ALL_WELL, LOST_ANSWER]
        stopped = importer.run(path)
        age_journal(path, hours=22)

        outcome = importer.run(path)

        assert stopped.exit_code == 3
        assert "within 23 hours" in stopped.stderr
        assert outcome.exit_code == 0
        assert api.received[1].key == api.received[2].key
        assert api.usage() == THREE_STORED

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("mishap", [LOST_ANSWER, TIMED_OUT], ids=["answer lost", "timed out"])
    def test_a_request_whose_key_is_forgotten_is_never_repeated_but_left_to_the_user(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv, mishap: StoreBut
    ) -> None:
        path = write_csv(*THREE)
        api.script += [ALL_WELL, mishap]
        importer.run(path)
        age_journal(path, hours=25)
        api.forget_keys()

        refused = importer.run(path)
        looked = importer.run(path, "--dry-run")
        settled = importer.run(path, "--settled", "2")
        again = importer.run(path, "--settled", "2")

        assert refused.exit_code == 3
        assert "request 2, first sent" in refused.stderr
        assert "1 records of lines 3\n" in refused.stderr
        assert "run again with --settled 2." in refused.stderr
        assert (looked.exit_code, looked.summary["records_before"]) == (3, 1)
        assert (settled.exit_code, settled.summary["records_written"]) == (0, 1)
        assert again.exit_code == 0
        assert api.usage() == THREE_STORED

    def test_a_computer_that_slept_between_two_attempts_does_not_send_the_second(
        self,
        api: StubApi,
        importer: Importer,
        write_csv: WriteCsv,
        waits: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def sleep_a_day() -> None:
            monkeypatch.setattr(journal_module, "RESEND_WITHIN", timedelta(0))
            api.forget_keys()

        api.script.append(StoreBut(meanwhile=sleep_a_day))

        outcome = importer.run(write_csv("one,seats,1"))

        assert outcome.exit_code == 3
        assert len(waits) == 1
        assert api.usage() == [("one", "seats", 1)]

    def test_only_what_may_have_arrived_can_be_settled(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        outcome = importer.run(write_csv(*THREE), "--settled", "2")

        assert outcome.exit_code == 3
        assert "request 2 is not one whose outcome is unknown" in outcome.stderr
        assert api.received == []

    @pytest.mark.usefixtures("impatient")
    def test_a_request_that_was_refused_may_be_sent_at_any_later_time(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        api.script += [REFUSAL, problem(429, "Too many requests.")]
        assert importer.run(path).exit_code == 3
        assert importer.run(path).exit_code == 3
        age_journal(path, hours=100)

        assert importer.run(path).exit_code == 0
        assert api.usage() == THREE_STORED

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("obstacle", ["API down", "proxy down", "certificate not trusted"])
    def test_a_request_that_never_left_may_be_sent_at_any_later_time(
        self,
        importer: Importer,
        write_csv: WriteCsv,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        obstacle: str,
    ) -> None:
        path = write_csv(*THREE)
        with monkeypatch.context() as patched, StubApi() as other:
            url = other.url
            if obstacle == "certificate not trusted":
                other.use_tls(tmp_path)
                url = url.replace("http:", "https:")
            elif obstacle == "proxy down":
                with StubApi() as proxy:
                    patched.setenv("HTTP_PROXY", proxy.url)
                url = "http://metering.example.com"
            else:
                other.stop()
            stopped = importer(path, "--api-url", url)
        age_journal(path, hours=100)

        assert stopped.exit_code == 3
        assert importer.run(path).exit_code == 0
        assert importer.api.usage() == THREE_STORED

    @pytest.mark.usefixtures("impatient")
    def test_a_refusal_after_a_lost_answer_says_nothing_about_the_first_attempt(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        api.script += [LOST_ANSWER, REFUSAL]
        importer.run(path)
        importer.run(path)
        age_journal(path, hours=25)
        api.forget_keys()

        assert importer.run(path).exit_code == 3
        assert api.usage() == [("one", "seats", 1)]

    @pytest.mark.parametrize("loss", ["journal deleted", "file copied"])
    def test_lines_that_the_api_had_from_elsewhere_are_not_written_again_and_the_user_is_told(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv, loss: str
    ) -> None:
        path = write_csv(*THREE)
        importer.run(path)
        if loss == "journal deleted":
            Journal.path_for(path).unlink()
        else:
            path = write_csv(*THREE, name="copy.csv")

        first, second = importer.run(path), importer.run(path)

        assert (first.exit_code, second.exit_code) == (4, 4)
        assert first.summary["records_already_there"] == second.summary["records_already_there"] == 3
        assert first.summary["records_written"] == 0
        assert "--import-id" in first.stderr
        assert api.usage() == THREE_STORED

    def test_further_usage_that_looks_the_same_is_imported_once_under_its_own_name(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        importer.run(path)

        first = importer.run(path, "--import-id", "hour-11")
        again = importer.run(path, "--import-id", "hour-11")
        latest = importer.run(path)

        assert [first.exit_code, again.exit_code, latest.exit_code] == [0, 0, 0]
        assert [first.summary["records_written"], again.summary["records_written"]] == [3, 0]
        assert latest.summary["import_id"] == "hour-11"
        assert api.usage() == sorted(THREE_STORED * 2)

    def test_an_unfinished_import_is_not_begun_again_under_another_name(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        api.script += [ALL_WELL, REFUSAL]
        importer.run(path)

        outcome = importer.run(path, "--import-id", "again")

        assert outcome.exit_code == 3
        assert "is unfinished" in outcome.stderr
        assert len(api.received) == 2


@pytest.mark.usefixtures("small_parts")
class TestOtherLines:
    def test_lines_edited_after_some_were_sent_are_refused_until_they_are_as_before(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        api.script += [ALL_WELL, REFUSAL]
        importer.run(write_csv(*THREE))

        edited = importer.run(write_csv("one,seats,1", "two,seats,22", "three,seats,3"))
        checked = importer.run(write_csv("one,seats,1", "two,seats,22", "three,seats,3"), "--dry-run")
        restored = importer.run(write_csv(*THREE))

        assert edited.exit_code == checked.exit_code == 3
        assert "the file's lines have changed" in edited.stderr
        assert "1 of its 3 requests done" in edited.stderr
        assert restored.exit_code == 0
        assert api.usage() == THREE_STORED

    def test_new_lines_in_a_file_that_was_imported_need_a_name(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        importer.run(write_csv(*THREE))

        refused = importer.run(write_csv("four,seats,4"))
        named = importer.run(write_csv("four,seats,4"), "--import-id", "2026-11-24")
        reused = importer.run(write_csv("five,seats,5"), "--import-id", "2026-11-24")

        assert [refused.exit_code, named.exit_code, reused.exit_code] == [3, 0, 3]
        assert api.usage() == sorted([*THREE_STORED, ("four", "seats", 4)])

    def test_lines_of_which_none_was_taken_may_be_edited(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        api.script.append(REFUSAL)
        importer.run(write_csv(*THREE))

        assert importer.run(write_csv("four,seats,4")).exit_code == 0
        assert api.usage() == [("four", "seats", 4)]

    def test_another_api_gets_the_same_lines_only_if_asked_to(
        self, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        importer.run(path)

        with StubApi() as other:
            refused = importer(path, "--api-url", other.url)
            assert other.received == []
            named = importer(path, "--api-url", other.url, "--import-id", "production")

        assert (refused.exit_code, named.exit_code) == (3, 0)
        assert importer.api.url in refused.stderr
        assert other.usage() == THREE_STORED

    @pytest.mark.parametrize("name", ["", "with space", "x" * 65])
    def test_a_name_is_a_short_word(self, importer: Importer, write_csv: WriteCsv, name: str) -> None:
        assert importer.run(write_csv(*THREE), "--import-id", name).exit_code == 2


@pytest.mark.usefixtures("small_parts")
class TestTheJournal:
    def test_a_line_that_a_crash_cut_short_does_not_count(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        api.script += [ALL_WELL, REFUSAL]
        importer.run(path)
        journal = Journal.path_for(path)
        whole = journal.read_bytes()
        journal.write_bytes(whole + b'{"import_id":"","at":"2026-11-')

        looked = importer.run(path, "--dry-run")
        outcome = importer.run(path)

        assert looked.summary["records_before"] == 1
        assert outcome.exit_code == 0
        assert all(json.loads(line) for line in journal.read_text().splitlines())
        assert api.usage() == THREE_STORED

    @pytest.mark.parametrize(
        "line",
        [
            "not JSON",
            '{"event":"sending","import_id":"unknown","at":"2026-11-23T10:00:00Z","part":1}',
            '{"event":"sending","import_id":"","part":1}',
            '{"event":"written","import_id":"","at":"2026-11-23T10:00:00Z","part":1,"already_there":false}',
        ],
    )
    def test_a_damaged_journal_stops_the_import(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv, line: str
    ) -> None:
        path = write_csv(*THREE)
        importer.run(path)
        with Journal.path_for(path).open("a") as file:
            file.write(line + "\n")

        outcome = importer.run(path)

        assert outcome.exit_code == 3
        assert "is not as this program wrote it" in outcome.stderr
        assert len(api.received) == 3

    def test_two_runs_at_once_do_not_mix(self, api: StubApi, importer: Importer, write_csv: WriteCsv) -> None:
        path = write_csv(*THREE)
        with Journal.open(Journal.path_for(path)):
            outcome = importer.run(path)

        assert outcome.exit_code == 3
        assert "another import of this file is running" in outcome.stderr
        assert api.received == []

    def test_a_link_to_the_file_has_the_files_journal(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv, tmp_path: Path
    ) -> None:
        path = write_csv(*THREE)
        importer.run(path)
        link = tmp_path / "latest.csv"
        link.symlink_to(path)

        assert importer.run(link).summary["records_before"] == 3
        assert len(api.received) == 3

    def test_nothing_is_sent_if_it_cannot_be_written(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv
    ) -> None:
        path = write_csv(*THREE)
        Journal.path_for(path).mkdir()

        assert importer.run(path).exit_code == 3
        assert api.received == []


@contextmanager
def program(path: Path, url: str, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    environment = {"METERING_API_URL": url, "METERING_API_KEY": "key", "TERM": "xterm"}
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-m", "metering_cli", "import", str(path)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class TestTheProgram:
    LINES = tuple(f"customer-{number},seats,{number}" for number in range(2_500))
    STORED = sorted((f"customer-{number}", "seats", number) for number in range(2_500))

    @pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_stopped_at_any_request_and_run_again_it_stores_each_record_once(
        self, api: StubApi, importer: Importer, write_csv: WriteCsv, kind: signal.Signals, before: int
    ) -> None:
        path = write_csv(*self.LINES)
        stopped: list[subprocess.Popen[str]] = []

        def stop() -> None:
            stopped[0].send_signal(kind)
            stopped[0].wait(PROGRAM_SECONDS)

        api.script += [*[ALL_WELL] * before, StoreBut(meanwhile=stop)]
        with program(path, api.url) as process:
            stopped.append(process)
            process.wait(PROGRAM_SECONDS)
            assert process.stderr is not None
            told = process.stderr.read()
        assert len(api.received) == before + 1

        outcome = importer.run(path)

        if kind == signal.SIGINT:
            assert process.returncode == 130
            assert "Interrupted. Run the same command again" in told
        assert outcome.exit_code == 0
        assert outcome.summary["records_before"] == before * 1_000
        assert api.usage() == self.STORED

    def test_a_terminal_shows_how_far_it_is(self, api: StubApi, write_csv: WriteCsv) -> None:
        path = write_csv(*self.LINES)
        ours, theirs = pty.openpty()
        with program(path, api.url, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            # Linux reports the end of a terminal as an error.
            try:
                while read := os.read(ours, 1_024):
                    shown += read
            except OSError:
                pass
            finally:
                os.close(ours)
            said, _ = process.communicate(timeout=PROGRAM_SECONDS)

        assert b"Sending" in shown
        assert b"1000/2500" in shown
        assert b"2500/2500" in shown
        assert said == "usage.csv: 2,500 lines, 2,500 records: 2,500 written now, 0 by earlier runs.\n"
