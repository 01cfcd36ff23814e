"""The candidate's side and the messages between the two sides, over real pipes in one process."""

import os
import subprocess
import sys
import threading

import pytest

from r1jax.rewards.code import bundle, candidate, plain_data
from r1jax.rewards.code.candidate import ENDED, RAISED, VALUE, Solution, call, described
from r1jax.rewards.code.channel import LENGTH, LONGEST, Channel, Closed
from r1jax.rewards.code.plain_data import Malformed, decode, encode


@pytest.fixture(autouse=True)
def _no_module_left(monkeypatch):
    monkeypatch.setitem(sys.modules, candidate.MODULE, None)


@pytest.fixture
def pipe():
    """(descriptor to write what the channel receives, channel that sends nowhere)"""
    reading, writing = os.pipe()
    yield writing, Channel(reading, -1)
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            pass  # the test has closed it


def message(*texts):
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    return LENGTH.pack(len(data)) + data


# Messages.


def test_texts_go_through_as_they_are(pipe):
    reading, writing = os.pipe()
    sender, receiver = Channel(-1, writing), Channel(reading, -1)
    for texts in (["x"], ["", ""], ["\ud800", "\ud83d\ude00", "\0"], ["a" * 50_000, "b"]):
        sender.send(*texts)
        assert receiver.receive() == texts
    os.close(writing)
    with pytest.raises(Closed):
        receiver.receive()
    os.close(reading)


def test_a_long_message_comes_in_parts():
    reading, writing = os.pipe()
    thread = threading.Thread(target=Channel(-1, writing).send, args=("é" * 10**6, "end"))
    thread.start()
    assert Channel(reading, -1).receive() == ["é" * 10**6, "end"]
    thread.join()
    os.close(reading)
    with pytest.raises(Closed):
        Channel(-1, writing).send("nobody reads")
    os.close(writing)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0", "cut off"),
        (message("whole")[:-1], "cut off"),
        (LENGTH.pack(LONGEST + 1), "bytes"),
        (b"\xff\xff\xff\xff", "bytes"),
        (message("one") + message("two"), "not asked for"),
        (message("one") + b"\0", "not asked for"),
        (LENGTH.pack(2) + b"\xff\xfe", "UTF-8"),
    ],
)
def test_what_is_no_single_message_is_malformed(pipe, data, words):
    writing, channel = pipe
    os.write(writing, data)
    os.close(writing)
    with pytest.raises(Malformed, match=words):
        channel.receive()


# Calls.


def called(program, path, *args, **kwargs):
    solution = Solution(program)
    outcome, text, changed = call(solution, lambda: solution.function(path), encode((args, kwargs)))
    return outcome, decode(text), decode(changed) if changed else None


def test_a_call_gives_its_value():
    assert called("def f(a, *, b): return {a: b}", "f", 1, b=(2,)) == (VALUE, {1: (2,)}, None)


def test_a_call_gives_what_it_has_done_to_its_arguments():
    program = "def f(a, b, c):\n    a.append(1)\n    b['x'] = 2\n    c += b'z'"
    after = (([0, 1], {"x": 2}, bytearray(b"yz")), {})
    assert called(program, "f", [0], {}, bytearray(b"y")) == (VALUE, None, after)
    assert called("def f(a): a.append(1); raise KeyError(a)", "f", [0])[2] == (([0, 1],), {})
    assert called("def f(a): a.append(f)", "f", [0]) == (VALUE, None, None)  # no plain data
    assert called("def f(a): a = a + [1]", "f", [0]) == (VALUE, None, None)


def test_a_method_is_called_on_a_new_object():
    program = """
class Solution:
    def __init__(self):
        self.calls = 0
    def count(self):
        self.calls += 1
        return self.calls
    @staticmethod
    def one():
        return 1
"""
    assert [called(program, "Solution.count")[1] for _ in range(2)] == [1, 1]
    assert called(program, "Solution.one")[1] == 1


def test_the_program_is_a_module_and_not_main():
    program = """
import dataclasses, sys
@dataclasses.dataclass
class Point:
    x: int
if __name__ == "__main__":
    raise SystemExit
def f():
    return __name__, sys.modules[__name__].f is f
"""
    assert called(program, "f")[1] == (candidate.MODULE, True)


def test_annotations_mean_what_they_mean_in_a_file_of_their_own():
    with pytest.raises(NameError):
        Solution("def f(x: undefined_name = 1): return x")


@pytest.mark.parametrize(
    ("statement", "outcome", "name", "words"),
    [
        ("raise ValueError('no')", RAISED, "ValueError", "no"),
        ("raise KeyError('key')", RAISED, "KeyError", "key"),
        ("{}[1]", RAISED, "KeyError", "1"),
        ("raise type('Mine', (LookupError, ValueError), {})('why')", RAISED, "LookupError", "why"),
        ("raise type('SystemExit', (Exception,), {})('0')", RAISED, "Exception", "0"),
        ("b'\\xff'.decode()", RAISED, "UnicodeDecodeError", "'utf-8' codec"),
        ("raise ValueError('x' * 10**6)", RAISED, "ValueError", "x" * 2000),
        ("raise SystemExit(0)", ENDED, "SystemExit", "0"),
        ("raise KeyboardInterrupt", ENDED, "KeyboardInterrupt", ""),
        ("raise type('Mine', (BaseException,), {})(7)", ENDED, "BaseException", "7"),
        ("raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})", RAISED, "Exception", "(its text"),
        ("return (one for one in f)", RAISED, "TypeError", "not iterable"),
        ("return f", RAISED, "TypeError", "'function'"),
        ("return f()", RAISED, "RecursionError", "maximum recursion"),
    ],
)
def test_an_exception_is_told_by_its_builtin_classes(statement, outcome, name, words):
    found, (names, message), _ = called(f"def f():\n    {statement}", "f")
    assert found == outcome
    assert names[0] == name
    assert message.startswith(words) or words in message
    assert len(message) <= 2000


def test_objects_of_its_own_classes_are_numbers():
    solution = Solution("class Own:\n    x = 5\nclass Table(dict):\n    pass\ndef make(): return [Own(), {}]")
    for path, expected in (("Own", '{"object":0}'), ("make", '[{"object":1},{"dict":[]}]'), ("Table", '{"object":2}')):
        assert call(solution, lambda path=path: solution.resolve(None, path), encode(((), {})))[1] == expected
    assert solution.resolve(1, "x") == 5
    assert solution.decode('{"object":0}') is solution.resolve(0, "")


def test_names_are_those_of_builtin_classes_alone():
    class ValueError(Exception):  # noqa: A001 (as a program might)
        pass

    assert decode(described(ValueError("x"))[1]) == [["Exception", "BaseException", "object"], "x"]


# The whole of it, where the package is not.


def test_the_harness_runs_without_the_package():
    source = bundle.bundle(("plain_data", "channel", "candidate"), "serve")
    (inside, ours_out), (ours_in, outside) = os.pipe(), os.pipe()
    program = "def f(x):\n    return x * 2\n"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", f"{source}\nserve({program!r}, {inside}, {outside})"],
        pass_fds=(inside, outside),
        cwd="/",
    ) as process:
        os.close(inside)
        os.close(outside)
        channel = Channel(ours_in, ours_out)
        channel.send(encode([1, "call", None, "f"]), encode(((21,), {})))
        header, text, changed = channel.receive()
        assert (decode(header), decode(text), changed) == ([1, VALUE], 42, "")
        channel.send(encode([2, "read", None, "g"]), encode(((), {})))
        assert decode(channel.receive()[1]) == [False, False, None]
        os.close(ours_out)
        assert process.wait(30) == 0
    os.close(ours_in)


def test_the_harness_answers_line_by_line():
    source = bundle.bundle(("plain_data", "channel", "candidate"), "answer_all")
    program = "import os\ndef f(x):\n    print('unheard', flush=True)\n    os.write(1, b'noise\\n')\n    return 1 / x\n"
    lines = "\n".join(plain_data.encode(((x,), {})) for x in (4, 0))
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{source}\nanswer_all({program!r}, 'f', 7)"],
        input=lines.encode(),
        capture_output=True,
        check=True,
    )
    ready, first, second = result.stdout.decode().splitlines()
    assert (ready, first) == ("ready", "7 value 0.25")
    assert second.startswith('8 raised [["ZeroDivisionError",')
    assert result.stderr.decode().splitlines() == ["noise", "noise"]
