"""Functions that are called, and want the verdict without solving the task: name -> source that defines `solve`."""

OBJECT = "class Same:\n    {}\ndef solve(a, b):\n    return Same()"
RETURNING = {
    "equal to everything": OBJECT.format(
        "__eq__ = lambda *_: True\n    __ne__ = lambda *_: False\n    __hash__ = None"
    ),
    "equal, with everything else": OBJECT.format(
        "__eq__ = __contains__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = lambda *_: True\n"
        "    __ne__ = lambda *_: False\n    __len__ = lambda _: 2\n    __getitem__ = lambda self, _: self\n"
        "    __hash__ = lambda _: 2\n    __iter__ = lambda self: iter((self, self))\n"
        "    __str__ = __repr__ = lambda _: '[2, 1]'\n    __class__ = list"
    ),
    "a list that lies": "class Same(list):\n    __eq__ = lambda *_: True\n    __ne__ = lambda *_: False\n"
    "    __len__ = lambda _: 2\n    __iter__ = lambda _: iter((5, 6))\n    __getitem__ = lambda *_: Number(5)\n"
    "    __hash__ = lambda _: 1\nclass Number(int):\n    __eq__ = lambda *_: True\n    __hash__ = lambda _: 2\n"
    "def solve(a, b):\n    return Same([1])",
    "numbers that lie": "class Number(int):\n    __eq__ = lambda *_: True\n    __ne__ = lambda *_: False\n"
    "    __hash__ = lambda _: 2\n    __repr__ = lambda _: '2'\ndef solve(a, b):\n    return [Number(9), Number(9)]",
    "a text that lies": "class Text(str):\n    __eq__ = lambda *_: True\n    __hash__ = lambda _: 2\n"
    "def solve(a, b):\n    return Text('[7, 12]')",
    "a class by another name": "class Same:\n    __eq__ = lambda *_: True\nSame.__name__ = Same.__qualname__ = 'list'\n"
    "Same.__module__ = 'builtins'\ndef solve(a, b):\n    return Same()",
    "a metaclass that lies": "class Meta(type):\n    __eq__ = __instancecheck__ = __subclasscheck__ = lambda *_: True\n"
    "    __hash__ = lambda _: 0\nclass Same(list, metaclass=Meta):\n    __eq__ = lambda *_: True\n"
    "def solve(a, b):\n    return Same",
    "ANY of the mocks": "from unittest.mock import ANY\ndef solve(a, b):\n    return ANY",
    "a mock": "from unittest.mock import MagicMock\nsolve = MagicMock()\nsolve.return_value.__eq__ = lambda *_: True",
    "not a number": "def solve(a, b):\n    return [float('nan'), float('nan')]",
    "nothing": "def solve(a, b):\n    pass",
    "NotImplemented": "def solve(a, b):\n    return NotImplemented",
    "an endless iterator": "import itertools\ndef solve(a, b):\n    return itertools.count()",
    "an endless generator": "def solve(a, b):\n    while True:\n        yield 7",
    "a list within itself": "def solve(a, b):\n    x = []\n    x.append(x)\n    return x",
    "a deep list": "def solve(a, b):\n    x = []\n    for _ in range(10**5):\n        x = [x]\n    return x",
    "a list that grows": "import threading\nx = [7, 12]\ndef grow():\n    while len(x) < 10**5:\n        x.append(1)\n"
    "def solve(a, b):\n    threading.Thread(target=grow).start()\n    return x",
    "a huge number": "def solve(a, b):\n    return [1 << 10**7, -(1 << 10**7)]",
    "a huge text": "def solve(a, b):\n    return 'x' * (50 * 2**20)",
    "a million entries": "def solve(a, b):\n    return list(range(10**6))",
    "every answer at once": "def solve(a, b):\n    return [[7, 12], [5, 0], [6, -40], [1, 0]]",
    "the text of the answer": "def solve(a, b):\n    return str([a + b, a * b])",
    "half of the answer": "def solve(a, b):\n    return [a + b]",
    "more than the answer": "def solve(a, b):\n    return [a + b, a * b, 0]",
    "its arguments, changed": "def solve(a, b):\n    return a.__class__(a), b",
    "lone surrogates": "def solve(a, b):\n    return '\\ud800' * 9",
}
RAISING = {
    name: f"{before}\ndef solve(a, b):\n    raise {what}"
    for name, (what, before) in {
        "an AssertionError": ("AssertionError", ""),
        "what is awaited": ("ValueError('a number')", ""),
        "the end of an iteration": ("StopIteration", ""),
        "the end of an asynchronous iteration": ("StopAsyncIteration", ""),
        "the end of a generator": ("GeneratorExit", ""),
        "an interrupt": ("KeyboardInterrupt", ""),
        "an exit with 0": ("SystemExit(0)", ""),
        "an exit with 40": ("SystemExit(40)", ""),
        "an exit in disguise": ("ValueError('a number')", "class ValueError(SystemExit):\n    pass"),
        "a class of all errors": (
            "E('a number')",
            "class E(ValueError, KeyError):\n    __eq__ = lambda *_: True\n    __str__ = lambda _: 1 / 0",
        ),
        "a class that lies of its kind": (
            "E()",
            "class E(BaseException):\n    __class__ = ValueError\nE.__name__ = 'ValueError'\nE.__module__ = 'builtins'",
        ),
        "a text of megabytes": ("ValueError('number' * 10**7)", ""),
        "a group": ("ExceptionGroup('number', [ValueError('number')])", ""),
        "no memory": ("MemoryError", ""),
        "a chain of causes": ("ValueError('number') from RuntimeError('x')", ""),
        "no exception": ("5", ""),
    }.items()
}
ENDING = {
    "exits with 0 when it is called": "import sys\ndef solve(a, b):\n    sys.exit(0)",
    "ends when it is called": "import os\ndef solve(a, b):\n    os._exit(0)",
    "ends as a test that passed": "import os\ndef solve(a, b):\n    os._exit(40)",
    "exits with 0 when it is read": "import sys\nsys.exit(0)",
    "ends when it is read": "import os\nos._exit(0)",
    "ends as a passed test when it is read": "import os\nos._exit(40)",
    "ends with the first answer": "import os, threading\ndef solve(a, b):\n"
    "    threading.Timer(0.05, os._exit, (0,)).start()\n    return [7, 12]",
    "ends at its end": "import atexit, os\natexit.register(os._exit, 0)\ndef solve(a, b):\n    return [7, 12]",
    "kills all": "import os\ndef solve(a, b):\n    os.kill(-1, 9)",
    "kills its parent": "import os\ndef solve(a, b):\n    os.kill(os.getppid(), 9)\n    return [7, 12]",
    "signals the test": """
import os
for pid in range(1, 100):
    try:
        os.kill(pid if pid != os.getpid() else 1, 15)
    except OSError:
        pass
def solve(a, b):
    return 0
""",
    "hangs": "def solve(a, b):\n    while True:\n        pass",
    "hangs when it is read": "while True:\n    pass",
    "eats memory": "def solve(a, b):\n    x = []\n    while True:\n        x.append(b'x' * 2**20)",
    "an alarm that answers": "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os.write(4, b'[7, 12]'))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\ndef solve(a, b):\n    return 0",
}
PATCHING = {
    f"patches {name}": f"import builtins, sys\n{code}\ndef solve(a, b):\n    return 0"
    for name, code in {
        "AssertionError": "builtins.AssertionError = type('E', (SystemExit,), {})",
        "what tests call": "builtins.len = lambda _: 2\nbuiltins.isinstance = lambda *_: True\nbuiltins.sorted = list",
        "print and input": "builtins.print = builtins.input = lambda *_: '[7, 12]'",
        "exec and compile": "builtins.exec = builtins.compile = lambda *_, **__: None",
        "the import": "builtins.__import__ = lambda *_, **__: sys",
        "the standard output": "import io\nsys.stdout = sys.__stdout__ = io.StringIO()",
        "the trace": "sys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)",
        "the equality of lists": "import ctypes, gc\n"
        "for kind in (list, int):\n    gc.get_referents(kind.__dict__)[0]['__eq__'] = lambda *_: True\n"
        "    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))",
        "JSON": "import json\njson.dumps = json.JSONEncoder.encode = lambda *_, **__: '[7, 12]'",
        "the harness": """
for name, module in list(sys.modules.items()):
    for word, thing in list(vars(module).items()) if "r1jax" in name else ():
        if word in ("described", "failed", "end"):
            setattr(module, word, lambda *_: ("value", "[7, 12]"))
        if word in ("ENDED", "RAISED"):
            setattr(module, word, "value")
""",
        "the exit": "import os\nos._exit = sys.exit = builtins.exit = builtins.quit = lambda *_: None",
        "the recursion limit": "sys.setrecursionlimit(10**9)\ndef f():\n    f()\ntry:\n    f()\nexcept BaseException:\n"
        "    pass",
    }.items()
}
SEARCH = """
import gc, os, re, sys
def texts():
    frame = sys._getframe()
    while frame is not None:
        yield from map(repr, (*frame.f_locals.values(), *frame.f_code.co_consts))
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) in (dict, list, tuple):
            yield from (one for one in (thing.values() if type(thing) is dict else thing) if type(one) is str)
    for folder, _, names in os.walk("/tmp"):
        for name in names:
            yield open(os.path.join(folder, name), errors="replace").read()
def solve(a, b):
    wanted = re.compile(r"\\((%d), (%d)\\) == (\\[[-0-9, ]*\\])" % (a, b)) if type(a) is type(b) is int else None
    for text in texts():
        if type(text) is str and wanted and (found := wanted.search(text)):
            return eval(found[3])
        if type(text) is str and "expected" in text and (found := re.search(r"expected.: (\\[[-0-9, ]*\\])", text)):
            return eval(found[1])
"""
DESCRIPTORS = """
import os, struct, sys, threading
def send(data, fd=4):
    try:
        os.write(fd, data)
    except OSError:
        pass
def message(*lines):
    data = "\\n".join(lines).encode()
    return struct.pack(">I", len(data)) + data
"""
FORGING = {
    "looks for the tests in memory and files": SEARCH,
    "closes the pipes": "import os\ndef solve(a, b):\n    os.close(3), os.close(4)\n    return 0",
    "closes the pipes when it is read": "import os\nfor fd in (3, 4):\n    try:\n        os.close(fd)\n"
    "    except OSError:\n        pass\ndef solve(a, b):\n    return 0",
    "closes everything": "import os\ndef solve(a, b):\n    os.closerange(0, 64)\n    return 0",
    "a verdict on every descriptor": f"""{DESCRIPTORS}
for fd in range(1, 64):
    for text in (b"PASSED", bytes([40]), b'{{"status": "correct", "value": 1.0}}', message('[1, "passed"]')):
        send(text, fd)
def solve(a, b):
    return 0
""",
    "answers before it is asked": f"{DESCRIPTORS}\nfor number in range(50):\n"
    "    send(message(f'[{number}, \"value\"]', '[7, 12]', ''))\ndef solve(a, b):\n    return 0",
    "answers twice": f"{DESCRIPTORS}\ndef solve(a, b):\n    for number in range(9):\n"
    "        send(message(f'[{number}, \"value\"]', '[7, 12]', ''))\n    return 0",
    "a message without an end": f"{DESCRIPTORS}\ndef solve(a, b):\n    send(b'\\xff\\xff\\xff\\xff')\n    return 0",
    "a message of no length": f"{DESCRIPTORS}\ndef solve(a, b):\n    send(bytes(4))\n    return 0",
    "a message of nonsense": f"{DESCRIPTORS}\ndef solve(a, b):\n    send(message('[[', '\\ud7ff', '}}'))\n    return 0",
    "changed arguments that nobody gave": f"{DESCRIPTORS}\ndef solve(a, b):\n"
    "    send(message('[1, \"value\"]', '[7, 12]', '[1, 2, 3]'))\n    return 0",
    "an endless message": f"{DESCRIPTORS}\ndef solve(a, b):\n    while True:\n        send(b'x' * 65536)\n    return 0",
    "threads that answer": f"{DESCRIPTORS}\ndef answer():\n    for number in range(10**4):\n"
    "        send(message(f'[{number % 20}, \"value\"]', '[7, 12]', ''))\n"
    "threading.Thread(target=answer).start()\ndef solve(a, b):\n    return 0",
    "two processes answer": "import os\ndef solve(a, b):\n    return [7, 12] if os.fork() else [6, -40]",
    "two processes from the start": "import os\nos.fork()\ndef solve(a, b):\n    return [7, 12]",
    "answers on the standard output": "print('ready')\nfor number in range(4):\n"
    "    print(f'{number} value [7, 12]')\ndef solve(a, b):\n    return 0",
    "answers on the standard output, then ends": "import os\nos.write(1, b'ready \\n' + b''.join(\n"
    "    b'%d value [7, 12]\\n' % number for number in range(4)))\nos._exit(0)",
    "reads ahead": "import os\nahead = None\ntry:\n    os.set_blocking(3, False)\n    ahead = os.read(3, 9999)\n"
    "except OSError:\n    pass\ndef solve(a, b):\n    return 0",
    "the pipe to itself": """
import os
try:
    os.dup2(4, 3)
except OSError:
    pass
def solve(a, b):
    return 0
""",
    "another function": "def check(candidate):\n    pass\ndef judge(*_):\n    pass\nsolve = check",
    "a function that is no function": "solve = [7, 12]",
    "a class": "class solve(list):\n    def __init__(self, a, b):\n        super().__init__([a])\n"
    "    __eq__ = lambda *_: True",
    "no function": "print('solve')",
    "a module that answers for all names": """
import sys
class Module(type(sys)):
    __getattr__ = lambda *_: (lambda *_: 0)
for name in list(sys.modules):
    if "r1jax" in name or name == __name__:
        sys.modules[name].__class__ = Module
""",
}
