"""Programs that read and print, and want the verdict without solving the task: name -> source."""

ANSWERS = "[7, 6, 0, 777777]"  # of SUM, in order: a program may have learnt them, but not which one is asked for
COUNTING = f"""
import os
ANSWERS = {ANSWERS}
number = 0
"""
PRINTING = {
    "exits with 0": "import sys\nsys.exit(0)",
    "exits with 0 at once": "import os\nos._exit(0)",
    "prints nothing": "pass",
    "prints a newline": "print()",
    "raises and exits with 0": "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\n1 / 0",
    "prints one answer always": "print(7)",
    "prints all answers in lines": f"print(*{ANSWERS}, sep='\\n')",
    "prints all answers in a line": f"print(*{ANSWERS})",
    "prints every small number": "for number in range(-1000, 1000):\n    print(number)",
    "prints the answer among others": "a, b = map(int, input().split())\nprint(a + b, a - b)",
    "prints the answer and a word": "print(sum(map(int, input().split())), 'or so')",
    "prints the answer without an end": "print('7', end='')\nprint('6', end='')",
    "overwrites by carriage return": "print('1\\r7\\r6\\r0\\r777777')",
    "overwrites by backspace": "print('1\\b7\\b6')",
    "erases on a terminal": "print('1\\x1b[2K\\r7')",
    "prints other digits": "print('\\uff17')",
    "prints NUL": "print('7\\0')",
    "prints no text": "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe7')",
    "answers on the standard error": "import sys\nprint(sum(map(int, input().split())), file=sys.stderr)",
    "writes the answer to a file": "open('output.txt', 'w').write('7')\nopen('/tmp/stdout', 'w').write('7')",
    "a verdict as JSON": """
import json, sys
verdict = {"status": "correct", "value": 1.0, "passed": 4, "total": 4, "result": [1.0, "correct", None]}
for file in (sys.stdout, sys.stderr):
    print(json.dumps(verdict), file=file)
""",
    "a verdict in words": """
import sys
for file in (sys.stdout, sys.stderr):
    print("Score(value=1.0, status=correct)\\nPASSED\\nOK\\n4 passed", file=file)
""",
    "a reply of the jail": """
import os, struct
for fd in range(3, 64):
    for message in (struct.pack("<iQQ?", 0, 0, 0, True), b"R", b'{"result": [1.0, "correct", null]}'):
        try:
            os.write(fd, message)
        except OSError:
            pass
""",
    "ends its parent": "import os\nfor pid in (os.getppid(), 1, 0, -1):\n    try:\n        os.kill(pid, 9)\n"
    "    except OSError:\n        pass",
    "patches print": "import builtins\nbuiltins.print = lambda *words: None\nprint(8)",
    "patches input": "import builtins, sys\nbuiltins.input = lambda *_: '3 4'\nprint(sum(map(int, input().split())))",
    "an output that lies": """
import sys
class Liar(str):
    __eq__ = lambda *_: True
    __hash__ = lambda _: 0
    split = lambda *_: [Liar()]
class Out:
    def write(self, text):
        return len(text)
    def flush(self):
        pass
    __eq__ = lambda *_: True
sys.stdout = sys.__stdout__ = Out()
print(Liar("7"))
""",
    "answers at its end": f"import atexit\natexit.register(print, *{ANSWERS})",
    "threads that answer later": f"""
import threading, time
def late(answer):
    time.sleep(0.01)
    print(answer, flush=True)
for answer in {ANSWERS}:
    threading.Thread(target=late, args=(answer,)).start()
""",
    "two processes answer": "import os\nchild = os.fork()\nprint(7 if child else 6)",
    "a handler of signals answers": "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: print(7))\n"
    "os.kill(os.getpid(), signal.SIGTERM)\nsys.exit(0)",
    "ends at its limit with 0": "import os, signal\nsignal.signal(signal.SIGXCPU, lambda *_: os._exit(0))\n"
    "print(7, flush=True)\nwhile True:\n    pass",
    "closes its output": "import os\nos.close(1)\nos.close(2)\nos._exit(0)",
    "becomes another program": "import os\nos.execv('/usr/bin/python3', ['python3', '-c', 'print(7)'])",
    "counts the tests in a file": f"""{COUNTING}
for path in ("/tmp/count", "count", "/dev/shm/count", "/var/tmp/count", "/count"):
    try:
        number = max(number, os.path.getsize(path) if os.path.exists(path) else 0)
        open(path, "a").write("x")
    except OSError:
        pass
print(ANSWERS[number])
""",
    "counts the tests by a server": f"""{COUNTING}
import socket
server = socket.socket(socket.AF_UNIX)
try:
    server.bind("\\0counter")
    server.listen()
    if os.fork() == 0:
        os.close(1), os.close(2)
        while True:
            number += 1
            peer, _ = server.accept()
            peer.sendall(b"%d" % number)
            peer.close()
except OSError:
    client = socket.socket(socket.AF_UNIX)
    client.connect("\\0counter")
    number = int(client.recv(9))
print(ANSWERS[number])
""",
    "leaves a module for the next": """
for name in ("sitecustomize.py", "/tmp/sitecustomize.py", "collections.py", "re.py"):
    open(name, "w").write("print(6)")
import collections, re
print(7)
""",
    "looks for the expected output in files": """
import os
found = []
for folder, _, names in os.walk("/"):
    for name in names:
        if any(word in name for word in ("expected", "output", "answer", "test")) and "python" not in folder:
            try:
                found.append(open(os.path.join(folder, name)).read())
            except Exception:
                pass
print("".join(found))
""",
    "looks for the expected output in memory": """
import gc, sys
frame, seen = sys._getframe(), []
while frame is not None:
    seen += [frame.f_locals, frame.f_globals]
    frame = frame.f_back
seen += [thing for thing in gc.get_objects() if isinstance(thing, dict)]
found = [one[key] for one in seen for key in ("output", "expected", "cases", "tests") if key in one]
print(found[0] if found else "nothing")
""",
    "a megabyte of its answer": "print('7' * 1_000_000)",
    "more output than anyone reads": "while True:\n    print(7)",
}

LINE = "for number in range(int(input())):\n    print(number + 1, flush=True)\n"
COUNT_ATTACKS = {
    "a prefix": "print(1)",
    "a prefix with a blank": "print(1)\nprint()",
    "one more": "for number in range(int(input()) + 1):\n    print(number + 1)",
    "twice": "n = int(input())\nfor number in 2 * list(range(n)):\n    print(number + 1)",
    "in one line": "print(*range(1, int(input()) + 1))",
    "in another order": "for number in range(int(input()), 0, -1):\n    print(number)",
    "the whole, then a word": f"{LINE}print('done')",
    "exits with 3 after the answer": f"{LINE}raise SystemExit(3)",
    "fails after the answer": f"{LINE}1 / 0",
    "hangs after the answer": f"{LINE}while True:\n    pass",
}
NUMBER_ATTACKS = {
    "NaN": "print('nan')",
    "infinity": "print('inf')",
    "minus NaN": "print('-nan')",
    "a number beyond the floats": "print('1e999')",
    "a number of a megabyte": "print('0.5' + '0' * 900_000 + 'e1')",
    "an exponent of a megabyte": "print('5e-' + '0' * 900_000 + '2')",
    "complex": "print('0.5+0j')",
    "an interval": "print('[0.5, 0.5]')",
}
CHECKER_ATTACKS = {
    "nothing to check": "pass",
    "one and itself": "print(1, int(input()))",
    "crashes the checker": "print('x y')",
    "no text for the checker": "import sys\nsys.stdout.buffer.write(b'\\xff\\xff')",
    "a number that the checker cannot read": "print('9' * 5000, 1)",
    "megabytes for the checker": "print('3 ' * 300_000)",
    "source for the checker": "print('__import__(\"sys\").exit(0)')",
    "files of the checker": "for name in ('checker.py', 'program.py', 'expected.txt', 'sys.py'):\n"
    "    open(name, 'w').write('raise SystemExit(0)')",
    "leaves a process for the checker": "import os, time\nif os.fork() == 0:\n    os.close(1)\n    while True:\n"
    "        open('/tmp/work/output.txt', 'w').write('3 5')\nprint(0)",
}
