# SPDX-License-Identifier: GPL-2.0-or-later
"""What a session on a board decides: when it is lost and why, and whether the board was left as it was. No board."""

import contextlib
import errno
import io
import time
from types import SimpleNamespace

import pytest
from fake_guest import MAILBOX, MEMORY, FakeDevice, FakeGuest, FakeStream

from dmasafe.devices.errors import DevicesError
from dmasafe.guest.link import Done, LinkError
from dmasafe.targets import board_session
from dmasafe.targets.board_session import BoardSession, Place
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.session import BORROWED, Limits

LIMITS = Limits(boot_s=20, request_s=21, silence_s=22, sync_s=7.0)
IMPATIENT = Limits(boot_s=0.1, request_s=0.1, silence_s=0.1, sync_s=7.0)
CLEAN = b"\r\ndmasafe: clean\r\n"
MESSAGE = {
    "ev": "message", "controller": "virtio", "seq": 1, "addr": 0x30, "read": False, "data": "00", "ok": True, "why": "",
    "segments": [],
}  # fmt: skip


class FramedFake(FakeStream):
    """Stands for FramedStream: the agent's lines, what else came (``noise``), and how the board ends."""

    def __init__(self, guest):
        super().__init__(guest)
        self.noise = bytearray()
        self.ended = self.raw_ended = False
        self.last_noise = CLEAN
        self.unsent = False
        self.receive_error = None
        self.recv = self._recv
        self._receive = self._ours.recv

    def _recv(self, size):
        if self.receive_error is not None:
            raise self.receive_error
        return self._receive(size)

    def end(self):
        """The agent is told to end; the script says its last word."""
        self.ended = True
        self.theirs.send(b"\n")

    def listen(self):
        self.noise += self.last_noise
        self.raw_ended = True


class FakeLink:
    name = "ssh:board"
    window_bytes = 4096
    resend_s = 0.25

    def __init__(self):
        self.scripts = []
        self.answers = []
        self.uploaded = {}
        self.started = ""
        self.links = []
        self.unreachable = 0
        self.closed = 0

    def command(self, script, timeout_s=1.0):
        self.scripts.append(script)
        answer = self.answers.pop(0) if self.answers else Done(0, "")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def upload(self, files, directory):
        self.uploaded[directory] = files

    def start(self, command):
        self.started = command
        return object()

    def again(self):
        if self.unreachable:
            self.unreachable -= 1
            raise LinkError("no route")
        self.links.append(self)
        return self

    def close(self):
        self.closed += 1


class Bench:
    def __init__(self, monkeypatch, directory):
        self.guest = FakeGuest()
        self.guest.files[board_session._ERROR_COUNT] = "3"
        self.stream = FramedFake(self.guest)
        self.link = FakeLink()
        self.oracle = FakeDevice()
        self.oracle.close = lambda: setattr(self.oracle, "closed", True)
        self.framed = []
        self.files = tuple(directory / name for name in ("run", "dmasafe_client.ko", "agent-0123"))
        for path in self.files:
            path.write_bytes(path.name.encode())
        self.place = Place(self.files, "0000:00:05.0", "0000:00:06.0", None, None)
        monkeypatch.setattr(board_session, "FramedStream", self._framed)
        monkeypatch.setattr(board_session, "TraceListener", lambda path: self.oracle)
        monkeypatch.setattr(board_session.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(board_session, "_POLL_S", 0.02)

    def _framed(self, *arguments):
        self.framed.append(arguments)
        self.stream.say(self.guest.hello())
        return self.stream

    @contextlib.contextmanager
    def up(self, limits=LIMITS, **place):
        changed = Place(**{**self.place.__dict__, **place})
        with BoardSession(self.link, changed, io.BytesIO(), limits) as session:
            self.session = session
            yield session


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path)


def wait(session):
    return list(session.replies())


# Up and down


def test_a_session_starts_the_agent_from_a_private_directory_and_leaves_the_board_clean(bench):
    with bench.up() as session:
        assert session.release == "6.12.117" and 0 < session.boot_s < 20
        directory = session.directory
        assert directory.startswith("/tmp/dmasafe.")
        session.prepare()
        assert session.memory == MEMORY
    assert bench.link.uploaded == {
        directory: {"run": b"run", "dmasafe_client.ko": b"dmasafe_client.ko", "agent": b"agent-0123"}
    }
    words = bench.link.started.split()
    assert words[:3] == ["sh", f"{directory}/run", directory]
    assert len(words[3]) == 4 and words[4:] == ["250", "30", "4096", "0000:00:05.0", "0000:00:06.0"]
    assert bench.framed[0][1:] == (words[3], 4096, 0.25, 12.0)
    assert session.notes == [] and len(bench.link.scripts) == 1 and directory in bench.link.scripts[0]


def test_a_session_that_was_not_started_is_none(bench):
    session = BoardSession(bench.link, bench.place, io.BytesIO(), LIMITS)
    assert (session.release, session.boot_s, session.reports_before, session.adapters) == ("", 0.0, 0, {})


def test_a_strict_boards_operations_are_there_before_its_controller(bench):
    with bench.up(virtio=None, dmasafe=None, strict_line=64) as session:
        session.prepare()
    loaded = [(request["path"].rpartition("/")[2], request["params"]) for request in bench.guest.asked("load")]
    assert loaded[0] == ("dmasafe_strict.ko", "line=64 devices=dmasafe-engine.0")
    assert [name for name, _ in loaded[1:]] == ["dmasafe_client.ko", "dmasafe_controller.ko"]


def test_functions_that_are_not_there_are_not_named(bench):
    with bench.up(virtio=None, dmasafe=None):
        assert bench.link.started.split()[6:] == ["4096"]


def test_a_link_that_is_slow_has_more_time(bench):
    bench.link.resend_s = 2.0
    with bench.up() as session:
        assert session.limits == Limits(boot_s=20, request_s=29, silence_s=30, sync_s=7.0)
        assert bench.link.started.split()[4] == "2000"


def test_a_directory_that_cannot_be_made_is_the_users_error(bench):
    bench.link.answers = [Done(1, "x" * 300 + " Read-only file system\n")]
    with pytest.raises(TargetError, match=r"^ssh:board: cannot make /tmp/dmasafe\.\w+: x+ Read-only file system$"):
        bench.up().__enter__()
    # Undone, in case that something of it is there.
    assert len(bench.link.scripts) == 2 and "rm -rf" in bench.link.scripts[1]


def test_a_board_that_cannot_undo_what_was_not_begun_is_not_asked_twice(bench):
    bench.link.answers = [Done(1, "no"), LinkError("gone")]
    with pytest.raises(TargetError, match="cannot make"):
        bench.up().__enter__()


def test_an_agent_that_does_not_speak_is_a_lost_session_and_the_board_is_left_alone(bench):
    bench.guest.release = None
    with pytest.raises(BootLost, match=r"^ssh:board: the board hangs: the agent's first word did not come in time$"):
        bench.up(IMPATIENT).__enter__()
    assert bench.link.closed == 1


# Prepared


def test_preparing_loads_the_modules_and_takes_the_adapters(bench):
    bench.guest.does["symbols"] = lambda request: {"argv_init": 4096}
    with bench.up() as session:
        session.prepare()
        assert session.adapters == {"virtio": 3, "dmasafe": 4} and session.reports_before == 3
        directory = session.directory
    guest = bench.guest
    assert guest.heard[0] == {"op": "kmsg", "skip": 1}
    assert guest.asked("symbols") == [{"names": ",".join(BORROWED)}]
    assert guest.asked("load") == [
        {"path": f"{directory}/dmasafe_client.ko", "params": "data_address=0x1000 data_size=136"},
        {"path": f"{directory}/dmasafe_controller.ko", "params": ""},
    ]
    assert guest.asked("adapter") == [
        {"name": "virtio", "device": "0000:00:05.0", "driver": "virtio-pci"},
        {"name": "dmasafe", "device": "0000:00:06.0", "driver": "dmasafe_controller"},
    ]
    assert guest.asked("write") == [{"path": "/sys/kernel/debug/dma-api/all_errors", "data": "1"}]


def test_without_a_function_the_engine_in_the_kernel_takes_its_place(bench):
    bench.guest.does["adapter"] = lambda request: {"errno": 0, "nr": 8}
    with bench.up(virtio=None, dmasafe=None, bus=5) as session:
        session.prepare()
        assert session.adapters == {"dmasafe": 8, "board": 8}
    assert bench.guest.asked("load")[1]["params"] == "engine=1"
    assert bench.guest.asked("adapter") == [
        {"name": "dmasafe", "bus": "platform", "device": "dmasafe-engine.0", "driver": "dmasafe_controller"},
        {"name": "board", "nr": 5},
    ]


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("17", 17),
        ("0", 0),
        ("", 0),
        ("-1", 0),
        ("٣", 0),
        ("1x", 0),
        ("9" * 19, int("9" * 19)),
        ("9" * 20, 0),
        (None, 0),
    ],
)
def test_reports_before_the_session_are_counted_as_dma_debug_says(bench, text, before):
    bench.guest.files[board_session._ERROR_COUNT] = text
    if text is None:
        del bench.guest.files[board_session._ERROR_COUNT]
    with bench.up() as session:
        session.prepare()
        assert session.reports_before == before


def test_a_module_that_the_board_refuses_is_named_with_what_the_kernel_said_of_it(bench):
    def kmsg(request):
        if not request.get("skip"):
            for sequence, text in enumerate(("dmasafe_client: unknown symbol x", "other", "dmasafe_client: no  ")):
                record = {"ev": "kmsg", "seq": -1, "records": [f"4,{sequence},1,-;{text}"]}
                bench.stream.say(record)
        return {"errno": 0}

    bench.guest.does |= {"kmsg": kmsg, "load": lambda request: {"errno": 2}}
    with (
        bench.up() as session,
        pytest.raises(
            BootLost,
            match=r"^the kernel refused dmasafe_client.ko: No such file or directory \(dmasafe_client: no\)$",
        ),
    ):
        session.prepare()


def test_a_module_of_which_the_kernel_said_nothing_is_named_alone(bench):
    bench.guest.does["load"] = lambda request: {"errno": 8}
    with bench.up() as session, pytest.raises(BootLost, match=r"Exec format error$"):
        session.prepare()


def test_a_driver_that_is_slow_to_come_is_asked_for_again(bench):
    slow = [{"errno": errno.ETIMEDOUT}, {"errno": errno.ETIMEDOUT}, {"errno": 0, "nr": 6}]
    bench.guest.does["adapter"] = lambda request: slow.pop(0) if request["name"] == "virtio" else {"errno": 0, "nr": 4}
    with bench.up() as session:
        session.prepare()
        assert session.adapters == {"virtio": 6, "dmasafe": 4} and session.gathered.violations == []


@pytest.mark.parametrize(
    ("reply", "times", "words"),
    [
        ({"errno": errno.ETIMEDOUT}, 3, "Connection timed out"),
        ({"errno": 19}, 1, "No such device"),
        ({"errno": 0}, 1, "Success"),
        ({"errno": 19, "nr": 4}, 1, "No such device"),
    ],
)
def test_an_adapter_that_does_not_come_is_a_note(bench, reply, times, words):
    bench.guest.does["adapter"] = lambda request: reply if request["name"] == "virtio" else {"errno": 0, "nr": 4}
    with bench.up() as session:
        session.prepare()
        assert session.adapters == {"dmasafe": 4}
        assert session.gathered.violations == [f"controller virtio cannot be had: {words}"]
    assert [one["name"] for one in bench.guest.asked("adapter")].count("virtio") == times


# The emulated device, where there is one


def test_a_device_beside_the_board_is_told_the_mailbox_and_heard(bench, tmp_path):
    with bench.up(oracle=tmp_path) as session:
        session.prepare()
        assert bench.oracle.mailbox == 0x1000
        bench.oracle.say(MESSAGE)
        session.sync_device()
        assert bench.oracle.synced == [7.0] and len(session.gathered.trace[1]) == 1
        bench.oracle.say({**MESSAGE, "seq": 2})
        session.read("/x")
        assert 2 in session.gathered.trace
    assert bench.oracle.closed


@pytest.mark.parametrize("text", ["", "(null)"])
def test_a_mailbox_that_is_none_is_not_told(bench, tmp_path, text):
    bench.guest.files[MAILBOX] = text
    with bench.up(oracle=tmp_path) as session:
        session.prepare()
    assert bench.oracle.mailbox is None


def test_without_a_device_there_is_nothing_to_ask_for(bench):
    with bench.up() as session:
        session.prepare()
        session.sync_device()
    assert bench.oracle.synced == []


def test_a_device_that_does_not_answer_is_lost_and_its_last_events_are_kept(bench, tmp_path):
    with bench.up(oracle=tmp_path) as session:
        bench.oracle.sync_error = DevicesError("did not answer")
        bench.oracle.say(MESSAGE)
        with pytest.raises(BootLost, match=r"^did not answer$"):
            session.sync_device()
        assert len(session.gathered.trace[1]) == 1


def gone(bench):
    bench.oracle.alive = False
    bench.oracle.say(MESSAGE)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (gone, "the process that serves the device's trace is gone$"),
        (lambda bench: bench.oracle.say(DevicesError("nonsense")), "^nonsense$"),
        (lambda bench: bench.oracle.say({"ev": "message"}), "^a trace line lacks something"),
    ],
)
def test_a_device_that_is_lost_ends_the_session(bench, tmp_path, act, reason):
    with bench.up(oracle=tmp_path) as session:
        act(bench)
        with pytest.raises(BootLost, match=reason):
            wait(session)


# Lost


def noise(text, ended=False):
    def act(bench):
        bench.stream.noise += text
        bench.stream.ended = ended
        bench.stream.theirs.close()

    return act


def nonsense(bench):
    bench.stream.theirs.sendall(b"no json\n")


def broken(error):
    def act(bench):
        bench.stream.receive_error = error
        bench.stream.theirs.send(b"x")

    return act


PANIC = b"..\r\nKernel panic - not syncing: Oops\r\nmore"
LOSSES = {
    "silence": (lambda bench: None, r"^ssh:board: the board hangs: an answer did not come in time$"),
    "a cut link": (noise(b""), r"^ssh:board: the agent's channel was closed$"),
    "an error of the link": (broken(TimeoutError(110, "timed out")), r"^ssh:board: the agent's channel broke: timed"),
    "a panic": (noise(PANIC), r"^the board died: Kernel panic - not syncing: Oops$"),
    "a panic and nothing before it": (noise(PANIC[4:]), r"^the board died: Kernel panic - not syncing: Oops$"),
    "the agent's end": (noise(b"", True), r"^the agent on the board ended: the agent's channel was closed$"),
    "a script that cannot start": (
        noise(b"\r\ndmasafe: cannot start the agent: ENOEXEC\r\n", True),
        r"^ssh:board: cannot start the agent: ENOEXEC$",
    ),
    "half of a last word": (
        noise(b"\r\ndmasafe: cannot sta", True),
        r"^the agent on the board ended: the agent's channel was closed$",
    ),
    "no JSON": (nonsense, r"^the agent's lines were damaged: no JSON: b'no json'$"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_board_is_lost_for_the_best_reason(bench, name):
    act, reason = LOSSES[name]
    with bench.up(IMPATIENT if name == "silence" else LIMITS) as session:
        act(bench)
        with pytest.raises(BootLost, match=reason):
            wait(session)


def test_a_request_through_a_cut_link_is_a_lost_session(bench):
    with bench.up() as session:
        bench.stream.broken = True
        with pytest.raises(BootLost, match=r"^ssh:board: the agent's channel broke: Broken pipe$"):
            session.send({"op": "run"})


def test_a_request_waits_until_the_link_takes_it(bench, monkeypatch):
    with bench.up() as session:
        monkeypatch.setattr(board_session, "_POLL_S", 0.5)
        bench.stream.full, bench.stream.unsent = 12, True
        started = time.monotonic()
        assert session.read("/x") is None and bench.stream.full == 0
        # Asking again each half second takes six seconds.
        assert time.monotonic() - started < 4


def test_the_console_is_muted_and_quiet_again(bench):
    with bench.up() as session:
        session.mute_console(True)
        session.mute_console(False)
    assert [one["data"] for one in bench.guest.asked("write")] == ["0", "1"]


def test_what_comes_is_taken_at_once(bench, monkeypatch, tmp_path):
    with bench.up(oracle=tmp_path) as session:
        monkeypatch.setattr(board_session, "_POLL_S", 6.0)
        started = time.monotonic()
        session.read("/x")
        gone(bench)
        with pytest.raises(BootLost):
            wait(session)
        assert time.monotonic() - started < 4
        monkeypatch.setattr(board_session, "_POLL_S", 0.02)


def test_a_silent_board_is_waited_for_at_rest(bench, monkeypatch):
    with bench.up(Limits(silence_s=0.3, request_s=20, boot_s=20)) as session:
        exchanges = []
        exchange = session._exchange
        monkeypatch.setattr(session, "_exchange", lambda timeout_s: exchanges.append(timeout_s) or exchange(timeout_s))
        with pytest.raises(BootLost):
            wait(session)
        assert 2 <= len(exchanges) < 200


# What is left on the board


@pytest.mark.parametrize(
    ("word", "notes"),
    [
        (CLEAN, []),
        (b"\ndmasafe: module dmasafe_client is in use\n", ["the board: module dmasafe_client is in use"]),
        (b"\ndmasafe: cannot start: no agent\n", []),
        (b"\ndmasafe: " + b"x" * 300 + b"\n", [f"the board: {'x' * 200}"]),
        (b"chatter\r\ndmasafe: first\r\nchatter\r\ndmasafe: last\r\n", ["the board: last"]),
    ],
)
def test_a_boards_last_word_is_heard(bench, word, notes):
    bench.stream.last_noise = word
    with bench.up() as session:
        pass
    assert session.notes == notes and bench.link.links == []


def test_a_board_that_says_no_last_word_is_looked_at_again(bench):
    bench.stream.last_noise = b"nothing"
    bench.link.answers = [Done(0, ""), Done(0, "module dmasafe_client\n"), Done(0, "")]
    with bench.up() as session:
        pass
    assert session.notes == ["the link was cut; the board has tidied up"]
    assert len(bench.link.scripts) == 3 and "/proc/modules" in bench.link.scripts[2]


def test_an_agent_that_has_more_to_say_is_heard_out(bench):
    """It ends with its second message after it was told to."""
    said = []

    def receive(size):
        said.append(size)
        bench.stream.ended = len(said) == 2
        return b'{"ev":"kmsg-lost"}\n'

    with bench.up() as session:
        bench.stream.end = lambda: None
        bench.stream.recv = receive
    assert len(said) == 2 and session.notes == [] and bench.link.links == []


def test_a_link_that_is_cut_while_the_agent_ends_is_looked_at_again(bench):
    with bench.up() as session:
        bench.stream.end = lambda: None
        bench.stream.receive_error = TimeoutError(110, "timed out")
    assert session.notes == ["the link was cut; the board has tidied up"] and len(bench.link.links) == 1


def test_after_a_cut_the_board_is_looked_at_through_another_link(bench):
    bench.link.unreachable = 2
    with bench.up(IMPATIENT) as session, contextlib.suppress(BootLost):
        wait(session)
    assert session.notes == ["the link was cut; the board has tidied up"]
    assert len(bench.link.links) == 1 and bench.link.closed == 1


def test_a_board_that_cannot_be_reached_any_more_is_a_note(bench, monkeypatch):
    clock = iter(range(0, 10_000, 20))
    with bench.up(IMPATIENT) as session:
        with pytest.raises(BootLost):
            wait(session)
        monkeypatch.setattr(board_session, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda s: None))
        bench.link.unreachable = 99
    assert session.notes == [
        "the board: whether it has tidied up is not known: it cannot be reached any more (no route)"
    ]


def test_a_second_link_that_breaks_is_not_tried_again(bench):
    bench.link.answers = [Done(0, ""), LinkError("reset")]
    with bench.up(IMPATIENT) as session, contextlib.suppress(BootLost):
        wait(session)
    assert session.notes == ["the board: whether it has tidied up is not known: it cannot be reached any more (reset)"]
    assert len(bench.link.links) == 1
