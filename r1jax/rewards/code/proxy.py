"""The test's side, in a jail of its own: the trusted test program, to which the candidate is a proxy.

A call sends its arguments and gets plain data (plain_data.py) or the name of an exception. Nothing that a candidate
sends is run, subclassed or compared by anything but Python's own types: what it is compared with is the test's.

- An exception is raised as the first of its classes that Python itself has. Not StopIteration, with which a
  candidate would end a loop of the test over `map(candidate, ...)`: RuntimeError, as in a generator (PEP 479).
  What no `except Exception` catches (SystemExit) ends the test at once: failed.
- What a call does to a list, dict, set or bytearray that it was given is done to the test's own. (To those within
  another one only in so far as that one holds new ones.)
- Objects of the program's own classes are proxies, too: their methods can be called and their attributes read.
  Their operators are not forwarded: a comparison would be the candidate's word. Functions cannot be arguments.

The verdict is this process's exit code. What can be the candidate's doing is never a broken test: a test is
broken where it fails before it has asked the candidate anything, or never asks. This module runs inside jails:
standard library only.
"""

import builtins
import os
import sys

from r1jax.rewards.code import plain_data
from r1jax.rewards.code.candidate import RAISED, VALUE, nowhere
from r1jax.rewards.code.channel import Channel, Closed
from r1jax.rewards.code.plain_data import Malformed

# Exit codes. Not 0 and 1: those are what a test program that ends itself would give.
PASSED, FAILED, BROKEN, OVER_MEMORY, LOST = 40, 41, 42, 43, 44
STDOUT = 1
FILE = "tests.py"
LONGEST_WORDS = 500
NEVER_RAISED = (StopIteration, StopAsyncIteration)


def _constructible(kind):
    try:
        return type(kind("")) is kind
    except TypeError:  # UnicodeDecodeError, ExceptionGroup
        return False


EXCEPTIONS = {
    name: RuntimeError if kind in NEVER_RAISED else kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and _constructible(kind)
}


def end(code, words):
    """Ends this process with its verdict, whatever is in the words; no handler of the test program's is between."""
    try:
        os.write(STDOUT, words[:LONGEST_WORDS].encode("utf-8", "replace"))
    finally:
        os._exit(code)


class Remote:
    """The candidate, over a channel."""

    def __init__(self, channel):
        self.asked = 0  # questions that it has got
        self._channel = channel
        self._number = 0
        self._proxies = {}

    def read(self, root, path):
        """A proxy for what can be called, or else the value; AttributeError where there is neither."""
        there, callable_, value = self._ask("read", root, path)
        if not there:
            raise AttributeError(f"the candidate defines no {path}")
        return Proxy(self, root, path) if callable_ else value

    def call(self, root, path, args, kwargs):
        """What a call returns or, as an exception, raises."""
        return self._ask("call", root, path, args, kwargs)

    def start(self, name):
        """A proxy for the function under test. Ends the test as failed where the program has no such function."""
        try:
            found = self.read(None, name)
        except AttributeError:
            found = None
        if type(found) is not Proxy:
            end(FAILED, f"the candidate defines no function {name}")
        self.asked = 0
        return found

    def _ask(self, operation, root, path, args=(), kwargs=None):
        """The value that was answered, or the exception; ends the test where there is neither."""
        arguments_text = plain_data.encode((args, kwargs or {}), self._reference)
        self._number += 1
        self.asked += 1
        try:
            self._channel.send(plain_data.encode([self._number, operation, root, path]), arguments_text)
            outcome, value, changed = self._answer()
            if changed:
                change_all(args, kwargs or {}, plain_data.decode(changed, self._proxy))
            if outcome == VALUE:
                return _read_of(value) if operation == "read" else value
            error, words = _error_of(value)
        except Closed:
            end(LOST, "the candidate has ended")
        except (ValueError, TypeError, LookupError) as problem:
            end(LOST, f"the candidate does not keep to the protocol: {problem}")
        if outcome != RAISED:
            end(OVER_MEMORY if isinstance(error, MemoryError) else FAILED, f"the candidate ended itself: {words}")
        raise error

    def _answer(self):
        """(outcome, value, text of the arguments after the call or "")"""
        header, text, changed = self._channel.receive()
        number, outcome = plain_data.decode(header)
        if number != self._number:
            raise Malformed("an answer to another question")
        return outcome, plain_data.decode(text, self._proxy), changed

    def _proxy(self, number):
        """The one proxy of an object of the candidate's."""
        if number not in self._proxies:
            self._proxies[number] = Proxy(self, number, "")
        return self._proxies[number]

    def _reference(self, value):
        if type(value) is Proxy:
            if value._path:
                raise TypeError(f"an argument is {value._path} of the candidate: functions cannot be arguments")
            return value._root
        return None


class Proxy:
    """Something of the candidate's that can be called, or has attributes. Equal to itself alone, and always true."""

    __slots__ = ("_remote", "_root", "_path")

    def __init__(self, remote, root, path):
        self._remote = remote
        self._root = root
        self._path = path

    def __call__(self, /, *args, **kwargs):
        return self._remote.call(self._root, self._path, args, kwargs)

    def __getattr__(self, name):
        if name.startswith("__") or name in Proxy.__slots__:
            raise AttributeError(f"{name} of the candidate is not read")
        return self._remote.read(self._root, f"{self._path}.{name}" if self._path else name)


class Namespace(dict):
    """The globals of a test program. Names that it does not define are the candidate's (classes of MBPP's tests)."""

    remote = None

    def __missing__(self, name):
        # A module that the test has forgotten to import would be the candidate's word on what is close or equal.
        known = hasattr(builtins, name) or name in sys.stdlib_module_names
        if self.remote is None or name.startswith("__") or known:
            raise KeyError(name)
        try:
            return self.remote.read(None, name)
        except AttributeError:
            raise KeyError(name) from None


def change(old, new):
    """Does to what a test has given to a call what the call did to it. ValueError where that cannot be."""
    for base, clear, fill in (
        (list, list.clear, list.extend),
        (dict, dict.clear, dict.update),
        (set, set.clear, set.update),
        (bytearray, bytearray.clear, bytearray.extend),
    ):
        if isinstance(old, base) and type(new) is base:
            clear(old)
            fill(old, new)
    if isinstance(old, tuple) and type(new) is tuple:
        for one, other in zip(old, new, strict=True):
            change(one, other)


def change_all(args, kwargs, after):
    """`change` for all arguments of a call. An error where `after` is not (args, kwargs)."""
    if [type(one) for one in after] != [tuple, dict]:
        raise Malformed("arguments of another shape")
    change(args, after[0])
    for name, old in kwargs.items():
        change(old, after[1][name])


def _read_of(value):
    there, callable_, found = value
    return there is True, callable_ is True, found


def _error_of(value):
    """The exception, and its words, that [names, message] describes."""
    names, message = value
    if type(message) is not str:
        raise Malformed("a message that is no text")
    kind = next((EXCEPTIONS[name] for name in names if name in EXCEPTIONS), Exception)
    return kind(message), f"{names[0] if names else 'an error'}: {message}"


def judge(program, function, prelude, read_fd=3, write_fd=4):
    """Runs a test program against the candidate at the other end, and ends this process with the verdict.

    Args:
      program: the test program. If it defines `check`, that is called with the function.
      function: name of the function under test.
      prelude: source whose helpers the test program may use; left out where it is no whole program (a signature).
      read_fd, write_fd: descriptors of the pipes to the candidate.
    """
    sys.stdout = sys.stderr = nowhere()  # what it prints of the candidate's answers may be long
    namespace = Namespace(__builtins__=builtins)
    remote = Remote(Channel(read_fd, write_fd))
    try:
        code = compile(program, FILE, "exec", dont_inherit=True)
        _run_prelude(prelude, namespace)
        namespace["__name__"] = "__main__"
        namespace.remote = remote
        candidate = namespace[function] = remote.start(function)
        before = namespace.get("check")
        exec(code, namespace)
        if namespace.get("check") is not before:
            namespace["check"](candidate)
    except BaseException as error:
        ended_itself = isinstance(error, SystemExit) and not error.code
        if ended_itself or not remote.asked:
            end(BROKEN, _words(error))
        # Memory: the candidate's, or ours for what it has sent.
        end(OVER_MEMORY if isinstance(error, MemoryError) else FAILED, _words(error))
    end(PASSED if remote.asked else BROKEN, "" if remote.asked else "the test program never calls the candidate")


def _run_prelude(prelude, namespace):
    try:
        code = compile(prelude, "prelude.py", "exec", dont_inherit=True)
    except SyntaxError:
        return
    namespace["__name__"] = "prelude"
    exec(code, namespace)


def _words(error):
    """An exception of the test program: which, and in which line."""
    line, trace = None, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == FILE else line
        trace = trace.tb_next
    try:
        words = str(error)
    except Exception:  # of a class of the test's own
        words = ""
    return f"line {line} of the test: {type(error).__name__}: {words}"
