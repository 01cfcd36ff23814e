"""The candidate's side, inside its jail: runs the program as a module and answers calls of what it defines.

Nothing here is trusted: the program shares this interpreter, and may answer in its place whatever it likes. All that
it gets are the arguments of calls; all that it gives is data (plain_data.py), which the other side judges. This
module runs inside jails: standard library only.
"""

import builtins
import io
import os
import sys

from r1jax.rewards.code import plain_data
from r1jax.rewards.code.channel import Channel, Closed

MODULE = "solution"  # the program is imported under this name: what it does as __main__ is not asked for
MAY_CHANGE = (list, tuple, dict, set, bytearray)
LONGEST_MESSAGE = 2000  # of an exception
READY = "ready"
VALUE, RAISED, ENDED = "value", "raised", "ended"  # how a call can come out


class Nowhere(io.RawIOBase):
    """Where prints go: nobody reads them, and they take no room."""

    def writable(self):
        return True

    def write(self, data):
        return len(data)


def nowhere():
    """A standard output that keeps nothing."""
    return io.TextIOWrapper(io.BufferedWriter(Nowhere()), encoding="utf-8")


class Solution:
    """A program, run as a module, and the objects that calls have made of its classes."""

    def __init__(self, program):
        """Runs it; what it raises comes through."""
        self._module = type(sys)(MODULE)
        self._objects = []
        self._numbers = {}
        sys.modules[MODULE] = self._module
        exec(compile(program, f"{MODULE}.py", "exec", dont_inherit=True), self._module.__dict__)

    def resolve(self, root, path):
        """What a dotted path leads to, from an object or (None) from the module."""
        found = self._module if root is None else self._objects[root]
        for name in path.split(".") if path else ():
            found = getattr(found, name)
        return found

    def function(self, name):
        """A function by its name; for Class.method, that of a new object."""
        owner, _, method = name.rpartition(".")
        if not owner:
            return self.resolve(None, name)
        found = self.resolve(None, owner)
        return getattr(found() if isinstance(found, type) else found, method)

    def encode(self, value):
        return plain_data.encode(value, self._number)

    def returned(self, function, value):
        """The text of what a call has returned. What a class of the program makes is an object, be it a dict, too."""
        number = self._number(value) if isinstance(function, type) else None
        return self.encode(value) if number is None else plain_data.encode(object(), lambda _: number)

    def decode(self, text):
        return plain_data.decode(text, self._objects.__getitem__)

    def _number(self, value):
        """The number of an object of one of the program's own classes; None for any other."""
        if type(value).__module__ != MODULE:
            return None
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)  # and so its id stays its own
        return self._numbers[id(value)]


def read(solution, root, path):
    """(VALUE, text of [whether a path leads to something, whether that can be called, its value if not], "")."""
    try:
        found = solution.resolve(root, path)
        can_be_called = callable(found)
        return VALUE, solution.encode([True, can_be_called, None if can_be_called else found]), ""
    except AttributeError:
        return VALUE, solution.encode([False, False, None]), ""
    except BaseException as error:
        return (*described(error), "")


def call(solution, find, arguments_text):
    """(outcome, text of the value or of the exception, text of the arguments if they have changed) of a call.

    Args:
      find: gives the function; what it raises, the call has raised.
    """
    args, kwargs = solution.decode(arguments_text)
    try:
        function = find()
        outcome, text = VALUE, solution.returned(function, function(*args, **kwargs))
    except BaseException as error:
        outcome, text = described(error)
    changed = arguments_text
    if any(isinstance(one, MAY_CHANGE) for one in (*args, *kwargs.values())):
        try:
            changed = solution.encode((args, kwargs))
        except plain_data.NotPlain:
            pass  # such a change stays here
    return outcome, text, "" if changed == arguments_text else changed


def described(error):
    """(RAISED, text of [names of its builtin classes, message]), or ENDED for what no `except Exception` catches."""
    names = [one.__name__ for one in type(error).__mro__ if getattr(builtins, one.__name__, None) is one]
    try:
        only = error.args[0] if len(error.args) == 1 else None
        message = str(only if type(only) is str else error)[:LONGEST_MESSAGE]
    except BaseException:
        message = "(its text cannot be had)"
    outcome = RAISED if isinstance(error, Exception) else ENDED
    return outcome, plain_data.encode([names, f"{message}"])


def serve(program, read_fd=3, write_fd=4):
    """Answers questions until the other side goes. A program that fails to run answers each with its error."""
    channel = Channel(read_fd, write_fd)
    solution, failure = started(program)
    while True:
        try:
            header, arguments_text = channel.receive()
        except Closed:
            return
        number, operation, root, path = plain_data.decode(header)
        if failure is not None:
            outcome, text, changed = ENDED, failure, ""
        elif operation == "read":
            outcome, text, changed = read(solution, root, path)
        else:
            outcome, text, changed = call(solution, lambda: solution.resolve(root, path), arguments_text)  # noqa: B023
        channel.send(plain_data.encode([number, outcome]), text, changed)


def answer_all(program, function, first):
    """Calls a function once for each line of the standard input, and writes a line for each call as it returns.

    A line: number of the case, outcome, text of the value or of the exception. The line before them: READY, or ENDED
    with the error of a program that fails to run. The program's own standard output is elsewhere.

    Args:
      program: source.
      function: its name, or Class.method.
      first: number of the first case.
    """
    lines = sys.stdin.buffer.read().split(b"\n")
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for what does not print by sys.stdout

    def write(*words):
        left = memoryview(" ".join(words).encode("utf-8", "surrogatepass") + b"\n")
        while left:
            left = left[os.write(answers, left) :]

    solution, failure = started(program)
    write(*((READY,) if failure is None else (ENDED, failure)))
    if failure is None:
        for number, line in enumerate(lines, start=first):
            outcome, text, _ = call(
                solution, lambda: solution.function(function), line.decode("utf-8", "surrogatepass")
            )
            write(str(number), outcome, text)
    os._exit(0)  # whatever threads it has left


def started(program):
    """(solution, None), or (None, text of the error of a program that fails to run)."""
    sys.stdout = nowhere()
    try:
        return Solution(program), None
    except BaseException as error:
        return None, described(error)[1]
