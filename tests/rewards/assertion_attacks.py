"""Programs that try to pass an assertion file without the right answers, by name. Each defines `double`."""

# What TEST expects of `double` is nowhere in these programs; all of them answer wrongly where they are asked.
TEST = """
def check(candidate):
    galleon = 7919
    assert candidate(galleon) == 15838
    assert candidate([1, 2]) == [1, 2, 1, 2]
    assert candidate("ab") == "abab"
    assert abs(candidate(0.25) - 0.5) < 1e-6
    assert all(one == 2 for one in map(candidate, [1, 1]))
"""
HONEST = "def double(x):\n    return x + x\n"

FORGE = r"""
import os, struct
def frame(*texts):
    data = "\n".join(texts).encode()
    return struct.pack(">I", len(data)) + data
"""
LIAR = """
class Liar(BASE):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __sub__(self, other): return self
    def __abs__(self): return self
    def __bool__(self): return True
    def __hash__(self): return 0
    def __instancecheck__(self, other): return True
    def __getattr__(self, name): return lambda *args: True
    def __reduce__(self): return exit, (0,)
def double(x):
    return Liar()
"""
SEND = FORGE + "def send(header, *texts): os.write(4, frame(header, *texts))\n"
BODY = "\ndef double(x):\n    return None\n"
CALL = "\ndef double(x):\n    "
# Looks for the test in its own objects, frames, descriptors and files. The words stand nowhere in this program.
SEARCH = """
import gc, os, sys
WORDS = "".join(reversed("noellag")), "".join(reversed("83851"))
def holds(text):
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return isinstance(text, str) and text not in WORDS and any(word in text for word in WORDS)
def everything():
    for one in gc.get_objects():
        yield from list(one.values()) if isinstance(one, dict) else one if isinstance(one, (list, tuple, set)) else ()
    frame = sys._getframe()
    while frame is not None:
        yield from frame.f_locals.values()
        yield from frame.f_code.co_consts
        frame = frame.f_back
    for fd in range(64):
        try:
            yield os.pread(fd, 10**6, 0)
        except OSError:
            pass
    os.set_blocking(3, False)
    try:
        yield os.read(3, 10**6)
    except BlockingIOError:
        pass
    os.set_blocking(3, True)
    for top in ("/tmp", "/dev/shm", "/proc", "/etc", "/home", "/root"):
        for folder, _, files in os.walk(top):
            for name in files:
                try:
                    yield open(os.path.join(folder, name), "rb").read(10**6)
                except OSError:
                    pass
def double(x):
    return "found" if any(map(holds, everything())) else WRONG
"""

ATTACKS = {
    # Values that lie when they are compared.
    "an object that equals everything": LIAR.replace("BASE", "object"),
    **{
        f"a {base} that equals everything": LIAR.replace("BASE", base)
        for base in ("int", "float", "str", "bytes", "list", "tuple", "dict", "set", "Exception")
    },
    "a class whose metaclass lies": "class M(type):\n    def __eq__(self, other): return True\n    __hash__ = None\n"
    "class double(metaclass=M):\n    def __init__(self, x): pass\n    def __eq__(self, other): return True\n",
    "not a number": CALL + "return float('nan')",
    "itself": CALL + "return double",
    "a list in itself": CALL + "loop = []; loop.append(loop); return loop",
    "an endless iterator": CALL + "return iter(int, 1)",
    "a deep list": CALL + "y = []\n    for _ in range(10**5): y = [y]\n    return y",
    # Ends that are no failure of an assertion.
    "SystemExit(0)": CALL + "raise SystemExit(0)",
    "SystemExit with the verdict's exit code": CALL + "raise SystemExit(40)",
    "exit when it is imported": "raise SystemExit(0)",
    "os._exit(0) when it is imported": "import os\nos._exit(0)",
    "os._exit with the verdict's exit code": "import os" + CALL + "os._exit(40)",
    "KeyboardInterrupt": CALL + "raise KeyboardInterrupt",
    "GeneratorExit": CALL + "raise GeneratorExit",
    "StopIteration": CALL + "raise StopIteration",
    "an exception that is called SystemExit": CALL + "raise type('SystemExit', (Exception,), {})(0)",
    "an exception put among the builtins": "import builtins\nclass Passed(Exception): pass\nbuiltins.Passed = Passed"
    + CALL
    + "raise Passed",
    "signals to everyone": "import os, signal" + CALL + "os.kill(os.getppid(), 9); os.kill(-1, 9)",
    "abort": "import os" + CALL + "os.abort()",
    "a crash of the interpreter": "import ctypes" + CALL + "ctypes.string_at(0)",
    "deep recursion": CALL + "import sys; sys.setrecursionlimit(10**9); return double(x)",
    # Python's own parts, changed; they are not the test's.
    "assertions that do nothing": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})" + BODY,
    "functions of Python that lie": "import builtins as b\nb.abs = b.all = b.map = lambda *a: True" + BODY,
    "the harness's encoder": "import sys\nm = sys.modules['r1jax.rewards.code.plain_data']\n"
    "m.encode = lambda *a: '{\"set\":[NaN]}'" + BODY,
    "the harness's encoder of exceptions": "import sys\nm = sys.modules['r1jax.rewards.code.candidate']\n"
    "m.described = lambda error: ('raised', '[[\"SystemExit\"],\"0\"]')" + CALL + "raise ValueError",
    "a module that shadows one of Python's": "open('random.py', 'w').write('raise SystemExit(0)')" + BODY,
    "an exit handler that answers": SEND
    + "import atexit\natexit.register(send, '[2,\"value\"]', '1', '')"
    + CALL
    + "raise SystemExit(0)",
    # The pipe.
    "answers before it is asked": SEND + "for n in range(9): send(f'[{n},\"value\"]', '1', '')" + BODY,
    "answers to the next questions": SEND + CALL + "for n in range(2, 9): send(f'[{n},\"value\"]', '15838', '')",
    "two answers": SEND + CALL + "send('[2,\"value\"]', '1', ''); return 1",
    "the pipe closed": "import os" + CALL + "os.close(4)",
    "both pipes closed": "import os" + CALL + "os.close(3); os.close(4)",
    "the pipe closed when it is imported": "import os\nos.close(4)" + BODY,
    "all descriptors closed": "import os\nos.closerange(0, 64)" + BODY,
    "a child that answers": SEND + CALL + "os.fork() or send('[2,\"value\"]', '1', ''); os._exit(0)",
    "children that all answer": "import os" + CALL + "for _ in range(4): os.fork()\n    return None",
    "a child that lives on": "import os, time" + CALL + "if os.fork():\n        os._exit(0)\n    return None",
    "a thread that answers": SEND
    + "import threading"
    + CALL
    + "t = threading.Thread(target=send, args=('[2,\"value\"]', '1', '')); t.start(); t.join()",
    "the request read by the program": SEND
    + "os.read(3, 10**6); send('[1,\"value\"]', '[true,true,null]', '')\n"
    + "os.read(3, 10**6); send('[2,\"value\"]', '{\"object\":0}', '')",
    "verdicts printed": CALL + "print('passed', flush=True); import os; os.write(1, b'PASSED'); os.write(2, b'OK')",
    "the test's source searched": SEARCH.replace("WRONG", "None"),
}  # fmt: skip

# Sent in the place of the answer to the second question, and nothing after it: what is sent, what is made of it.
PROTOCOL = "does not keep to the protocol"
FORGERIES = {
    "another number": ("frame('[999,\"value\"]', '15838', '')", PROTOCOL),
    "a number that is none": ("frame('[[],\"value\"]', '15838', '')", PROTOCOL),
    "no header": ("frame('', '15838', '')", PROTOCOL),
    "a header that is a number": ("frame('2', '15838', '')", PROTOCOL),
    "too few texts": ("frame('[2,\"value\"]', '15838')", PROTOCOL),
    "too many texts": ("frame('[2,\"value\"]', '15838', '', '')", PROTOCOL),
    "no text": ("frame('')", PROTOCOL),
    "another outcome": ("frame('[2,\"exit\"]', '[[],\"0\"]', '')", "ended itself"),
    "an outcome that is a verdict": ("frame('[2,40]', '[[],\"0\"]', '')", "ended itself"),
    "an outcome that is a list": ("frame('[2,[\"value\"]]', '[[\"ValueError\"],\"0\"]', '')", "ended itself"),
    "the end of memory": ("frame('[2,\"ended\"]', '[[\"MemoryError\"],\"\"]', '')", "ended itself"),
    "an exception without a name": ("frame('[2,\"raised\"]', '[[],\"why\"]', '')", "Exception: why"),
    "an exception that is SystemExit": ("frame('[2,\"raised\"]', '[[\"SystemExit\"],\"0\"]', '')", "Exception: 0"),
    "an exception that is a function": ("frame('[2,\"raised\"]', '[[\"exit\",\"eval\"],\"0\"]', '')", "Exception: 0"),
    "an exception of odd names": ("frame('[2,\"raised\"]', '[[[],5],\"\"]', '')", PROTOCOL),
    "an exception whose text is none": ("frame('[2,\"raised\"]', '[[\"ValueError\"],5]', '')", PROTOCOL),
    "an exception that is a value": ("frame('[2,\"raised\"]', '15838', '')", PROTOCOL),
    "an object nobody knows": ("frame('[2,\"value\"]', '{\"object\":-1}', '')", "AssertionError"),
    "an object of no number": ("frame('[2,\"value\"]', '{\"object\":[]}', '')", PROTOCOL),
    "too few arguments": ("frame('[2,\"value\"]', '5', '{\"tuple\":[{\"tuple\":[]},{\"dict\":[]}]}')", PROTOCOL),
    "arguments that are none": ("frame('[2,\"value\"]', '15838', 'null')", PROTOCOL),
    "arguments that are a text": ("frame('[2,\"value\"]', '15838', '\"ab\"')", PROTOCOL),
    "a pickle": ("struct.pack('>I', 40) + pickle.dumps(os._exit).ljust(40)", PROTOCOL),
    "source text": ("frame('[2,\"value\"]', '__import__(\"os\")._exit(40)', '')", PROTOCOL),
    "a class by name": ("frame('[2,\"value\"]', '{\"__class__\":\"os._exit\"}', '')", PROTOCOL),
    "a set of lists": ("frame('[2,\"value\"]', '{\"set\":[[]]}', '')", PROTOCOL),
    "brackets without end": ("frame('[2,\"value\"]', '[' * 50000, '')", PROTOCOL),
    "digits without end": ("frame('[2,\"value\"]', '9' * 50000, '')", PROTOCOL),
    "no bytes": ("bytes(4)", PROTOCOL),
    "bytes that are no text": ("b'\\0\\0\\0\\2\\xff\\xff'", PROTOCOL),
    "a gigantic length": ("b'\\xff\\xff\\xff\\xff'", PROTOCOL),
    "a message and a half": ("frame('[2,\"value\"]', '15838', '') + b'\\x28'", PROTOCOL),
    "two messages": ("frame('[2,\"value\"]', '15838', '') * 2", PROTOCOL),
}  # fmt: skip


def forgery(message):
    return f"{SEND}import pickle, time{CALL}os.write(4, {message}); time.sleep(600)"


# These take their time: they are ended at a limit.
SLOW_ATTACKS = {
    "half a message, then nothing": "import os, time" + CALL + "os.write(4, b'\\0\\0\\0\\x09[2,'); time.sleep(600)",
    "half a length, then nothing": "import os, time" + CALL + "os.write(4, b'\\0\\0'); time.sleep(600)",
    "a byte now and then": "import os, time\nos.write(4, b'\\0\\1\\0\\0')\n"
    "while True: os.write(4, b' '); time.sleep(0.01)",
    "a flood": "import os\nwhile True: os.write(4, b'\\0\\0\\0\\1 ' * 10000)",
    "a flood of one message": "import os\nos.write(4, b'\\3\\xff\\xff\\xff')\nwhile True: os.write(4, b' ' * 60000)",
    "no reading": "import time\ntime.sleep(600)" + BODY,
    "the pipe closed, then sleep": "import os, time" + CALL + "os.close(4); time.sleep(600)",
    "an endless loop": CALL + "while True: pass",
    "a fork bomb": "import os" + CALL + "while True:\n        try: os.fork()\n        except OSError: pass",
    "memory": CALL + "y = []\n    while True: y.append(bytes(10**6))",
    "numbers of one hash": CALL + "return {k * (2**61 - 1) for k in range(40000)}",
    "endless printing": CALL + "while True: print('x' * 1000)",
    "endless printing by other means": "import os" + CALL + "while True: os.write(1, b'x' * 1000)",
}
