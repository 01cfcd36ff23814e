"""Programs that attack their sandbox, each with the statuses that it may end with.

Those that reach for something print HELD or ESCAPED. They run with 2 s of wall clock, 1 s of CPU, 64 MiB of memory,
32 processes and 8 MiB of files, and read facts about the host from their standard input.
"""

from hostile_calls import CALLING, COLUMN, ends, reaches

from r1jax.sandbox.jobs import Status

FINISHED, TIME, MEMORY = Status.FINISHED, Status.OVER_TIME, Status.OVER_MEMORY
OUTPUT, CRASHED = Status.OVER_OUTPUT, Status.CRASHED

BOMBS = {
    "fork bomb": ends("while True:\n    os.fork()", FINISHED, TIME, MEMORY),
    "fork bomb that goes on": ends(
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass", TIME, MEMORY
    ),
    "fork bomb whose parents end": ends(
        "while True:\n    try:\n        if os.fork():\n            os._exit(1)\n    except OSError:\n        pass",
        TIME,
        MEMORY,
        FINISHED,
    ),
    "thread bomb": ends(
        "import threading\nwhile True:\n    try:\n        threading.Thread(target=time.sleep, args=(9,)).start()\n"
        "    except RuntimeError:\n        pass",
        TIME,
        MEMORY,
    ),
    "memory bomb": ends("x = []\nwhile True:\n    x.append(bytearray(2**20))", MEMORY),
    "memory bomb in one piece": ends("x = bytearray(2**36)", MEMORY),
    "memory bomb that catches": ends(
        "x = []\nwhile True:\n    try:\n        x.append(b'x' * 2**16)\n    except MemoryError:\n        pass",
        MEMORY,
        TIME,
    ),
    "memory of many processes": ends(
        "for _ in range(20):\n    if os.fork() == 0:\n        x = b'x' * (20 * 2**20)\n        time.sleep(9)\n"
        "time.sleep(9)",
        MEMORY,
    ),
    "shared memory": ends(
        "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 2**22))\n    x[-1].write(bytes(2**22))",
        MEMORY,
        FINISHED,
    ),
    "address space without pages": ends("import mmap\nx = mmap.mmap(-1, 2**40)", FINISHED),
    "numbers without end": ends("x = 7\nwhile True:\n    x *= x", TIME, MEMORY),
    "zip bomb": ends("import zlib\nzlib.decompress(zlib.compress(bytes(2**24)) * 1 + b'', bufsize=2**30)", MEMORY),
    "zip bomb in layers": ends(
        "import gzip, io\nx = gzip.compress(bytes(2**24))\nfor _ in range(3):\n    x = gzip.compress(x * 99)\n"
        "y = [gzip.decompress(gzip.compress(bytes(2**24))) for _ in range(99)]",
        MEMORY,
        TIME,
    ),
    "one large file": ends("f = open('f', 'wb')\nwhile True:\n    f.write(bytes(2**20))", FINISHED, OUTPUT),
    "many large files": ends(
        "n = 0\nwhile True:\n    n += 1\n    try:\n        open(f'{n % 50}', 'ab').write(bytes(2**20))\n"
        "    except OSError:\n        pass",
        TIME,
        MEMORY,
    ),
    "files without content": ends("n = 0\nwhile True:\n    n += 1\n    open(str(n), 'w').close()", MEMORY),
    "folders without end": ends("while True:\n    os.mkdir('d')\n    os.chdir('d')", MEMORY, TIME, FINISHED),
    "sparse file": ends("open('f', 'wb').truncate(2**40)", FINISHED, OUTPUT),
    "endless output": ends("while True:\n    print('x' * 1000)", OUTPUT),
    "endless standard error": ends("while True:\n    sys.stderr.write('x' * 1000)", OUTPUT),
    "endless output in pieces": ends("while True:\n    os.write(1, b'x')", OUTPUT, TIME),
    "endless output of a child": ends("if os.fork():\n    time.sleep(9)\nwhile True:\n    print('x' * 1000)", OUTPUT),
    "endless loop": ends("while True:\n    pass", TIME),
    "endless loop in C": ends("9 ** (9 ** 9)", TIME, MEMORY),
    "endless loop of many processes": ends("for _ in range(4):\n    os.fork()\nwhile True:\n    pass", TIME),
    "endless sleep": ends("time.sleep(10**6)", TIME),
    "backtracking": ends("import re\nre.match('(a*)*b', 'a' * 64)", TIME),
    "waits at a pipe without writer": ends("os.mkfifo('p')\nopen('p')", TIME),
    "ignores every signal": ends(
        "for number in range(1, 65):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nwhile True:\n    pass",
        TIME,
    ),
    "blocks every signal": ends("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True:\n    pass", TIME),
    "handles SIGTERM and SIGXCPU": ends(
        "signal.signal(signal.SIGTERM, print)\nsignal.signal(signal.SIGXCPU, print)\nwhile True:\n    pass", TIME
    ),
    "stops itself": ends("os.kill(os.getpid(), signal.SIGSTOP)", TIME),
    "stops its parent and itself": ends(
        "try:\n    os.kill(1, signal.SIGSTOP)\nexcept OSError:\n    pass\nos.kill(os.getpid(), signal.SIGSTOP)", TIME
    ),
    "timers at a gallop": ends(
        "signal.signal(signal.SIGALRM, lambda *_: None)\nsignal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)\n"
        "while True:\n    pass",
        TIME,
    ),
    "deep recursion": ends(
        "sys.setrecursionlimit(10**9)\ndef f():\n    return f()\nf()", MEMORY, CRASHED, TIME, FINISHED
    ),
    "deep recursion in C": ends(
        "sys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6):\n    x = [x]\nrepr(x)",
        CRASHED,
        MEMORY,
        TIME,
        FINISHED,
    ),
    "deep source": ends("eval('(' * 10**5 + ')' * 10**5)", FINISHED, MEMORY, CRASHED),
    "address 0": ends("ctypes.string_at(0)", CRASHED),
    "abort": ends("os.abort()", CRASHED),
    "kills itself": ends("os.kill(os.getpid(), 9)", CRASHED),
    "kills its group": ends("os.kill(0, 9)", CRASHED),
    "many pipes, full": ends(
        "while True:\n    try:\n        r, w = os.pipe()\n        os.set_blocking(w, False)\n"
        "        os.write(w, bytes(2**16))\n    except OSError:\n        time.sleep(0.01)",
        TIME,
        MEMORY,
    ),
    "descriptors in flight": ends(
        "a, b = socket.socketpair()\na.setblocking(False)\nwhile True:\n    try:\n        r, w = os.pipe()\n"
        "        socket.send_fds(a, [b'x'], [r, w, 1])\n    except OSError:\n        time.sleep(0.01)\n"
        "    finally:\n        os.close(r)\n        os.close(w)",
        TIME,
        MEMORY,
        FINISHED,
    ),
    "system call of another machine": ends(
        "import mmap\ncode = mmap.mmap(-1, 4096, prot=7)\ncode.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()\nprint('ESCAPED')",
        CRASHED,
    ),
}

ATTEMPTS = {
    "connects by TCP": reaches("attempt(socket.create_connection, ('127.0.0.1', host['port']), 1)"),
    "connects by TCP over IPv6": reaches("attempt(socket.create_connection, ('::1', host['port']), 1)"),
    "asks a name server": reaches(
        "attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53)))"
    ),
    "resolves a name": reaches("attempt(socket.getaddrinfo, 'example.com', 80)"),
    "abstract socket of the host": reaches(
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0' + host['abstract']))"
    ),
    "socket file of the host": reaches("attempt(lambda: socket.socket(socket.AF_UNIX).connect(host['socket']))"),
    "other sockets": reaches(
        "for family in (10, 16, 17, 29, 38, 40, 44):\n    for kind in (1, 2, 3, 5):\n"
        "        attempt(socket.socket, family, kind)"
    ),
    "reads /etc": reaches("for name in ('passwd', 'shadow', 'hostname', 'hosts'):\n    attempt(read, '/etc/' + name)"),
    "lists home": reaches("for name in ('/root', '/home', host['home']):\n    attempt(os.listdir, name)"),
    "reads the parent's file": reaches("attempt(read, host['canary'])"),
    "writes the parent's file": reaches("attempt(lambda: open(host['canary'], 'w').write('x'))"),
    "reads the environment": reaches(
        "attempt(lambda: os.environ.get('R1JAX_TEST_SECRET') or open('/proc/1/environ').read())"
    ),
    "reads the parent's memory": reaches(
        "attempt(read, f\"/proc/{host['process']}/mem\")\nattempt(read, f\"/proc/{host['process']}/maps\")"
    ),
    "follows the parent's descriptors": reaches(
        "for name in ('fd', 'cwd', 'root'):\n    attempt(os.listdir, f\"/proc/{host['process']}/{name}\")"
    ),
    "symbolic link out": reaches("os.symlink(host['canary'], 'link')\nattempt(read, 'link')"),
    "symbolic link to the root of others": reaches(
        "os.symlink('/proc/1/root/etc', 'link')\nattempt(os.listdir, 'link')"
    ),
    "dots out": reaches("attempt(read, '../' * 20 + host['canary'])"),
    "hard link": reaches("attempt(os.link, '/usr/bin/python3', 'python')"),
    "overwrites the interpreter": reaches("attempt(open, '/usr/bin/python3', 'r+b')"),
    "overwrites the standard library": reaches("attempt(open, os.__file__, 'a')"),
    "writes outside": reaches(
        "for folder in ('/', '/usr', '/usr/lib', '/dev', '/lib64', '/usr/lib/python3'):\n"
        "    attempt(open, folder + '/x', 'w')"
    ),
    "makes the root writable": reaches("for path in ('/', '/usr', '/dev'):\n    attempt(os.chmod, path, 0o777)"),
    "changes the host's devices": reaches(
        "for name in ('null', 'zero', 'full', 'random', 'urandom'):\n"
        "    attempt(os.chmod, '/dev/' + name, 0o666)\n"
        "    attempt(os.utime, '/dev/' + name, (1, 1))\n"
        "    attempt(os.unlink, '/dev/' + name)"
    ),
    "writes to /dev/shm": reaches("attempt(open, '/dev/shm/x', 'w')"),
    "opens the terminal": reaches(
        "for name in ('tty', 'console', 'ptmx', 'mem', 'kmsg'):\n    attempt(open, '/dev/' + name)"
    ),
    "types into the terminal": reaches("import fcntl\nfor fd in range(3):\n    attempt(fcntl.ioctl, fd, 0x5412, b'x')"),
    "makes devices": reaches(
        "for mode, major in ((0o20666, 1), (0o60666, 8)):\n    attempt(os.mknod, 'd', mode, os.makedev(major, 1))"
    ),
    "signals the parent": reaches("for number in (0, 9, 15, 19):\n    attempt(os.kill, host['process'], number)"),
    "signals the group of the parent": reaches("attempt(os.killpg, host['process'], 9)"),
    "reads other people's descriptors": reaches(
        "for fd in range(3, 1024):\n    try:\n        os.fstat(fd)\n        print('ESCAPED', fd)\n"
        "    except OSError:\n        pass\nprint('HELD')"
    ),
    "writes a reply of its own": reaches(
        "import struct\nfor fd in range(3, 1024):\n    try:\n"
        "        os.write(fd, struct.pack('<iQQ?', 0, 0, 0, True))\n"
        "        print('ESCAPED', fd)\n    except OSError:\n        pass\nprint('HELD')"
    ),
    "searches its interpreter for sockets": reaches(
        "import gc\nfor thing in gc.get_objects():\n    if type(thing).__name__ == 'socket' and thing.fileno() >= 0:\n"
        "        print('ESCAPED', thing)\nprint('HELD')"
    ),
    "searches its callers": reaches(
        "frame = sys._getframe()\nwhile frame:\n    for name, value in {**frame.f_locals, **frame.f_globals}.items():\n"
        "        if name == 'control' and value.fileno() >= 0:\n            print('ESCAPED', name)\n"
        "    frame = frame.f_back\nprint('HELD')"
    ),
    "becomes root": reaches(
        "for name in ('setuid', 'setgid', 'seteuid', 'setegid'):\n    attempt(getattr(os, name), 0)\n"
        "attempt(os.setgroups, [0])\nattempt(os.setresuid, 0, 0, 0)"
    ),
    "becomes the next user": reaches("attempt(os.setuid, os.getuid() + 1)"),
    "runs a setuid program": reaches(
        "import shutil, subprocess\nshutil.copy('/usr/bin/python3', 'python')\nos.chmod('python', 0o6755)\n"
        "out = subprocess.run(['./python', '-c', 'import os; print(os.getuid(), os.geteuid())'],\n"
        "    capture_output=True, env={**os.environ, 'PYTHONHOME': '/usr'})\n"
        "print('ESCAPED' if len(set(out.stdout.split())) != 1 or b'0' in out.stdout.split() else 'HELD', out.stdout)"
    ),
    "changes root": reaches("os.mkdir('r')\nattempt(os.chroot, 'r')"),
    "raises its limits": reaches(
        "import resource\nfor name in ('AS', 'NPROC', 'CPU', 'FSIZE', 'NOFILE', 'MEMLOCK'):\n"
        "    attempt(resource.setrlimit, getattr(resource, 'RLIMIT_' + name), (resource.RLIM_INFINITY,) * 2)"
    ),
    "limits process 1": reaches("import resource\nattempt(resource.prlimit, 1, resource.RLIMIT_CPU, (0, 0))"),
    "raises its priority": reaches(
        "attempt(os.nice, -20)\nattempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))"
    ),
    "takes other cores": reaches("attempt(os.sched_setaffinity, 0, range(os.cpu_count()))"),
    "begins a session": reaches("if os.fork() == 0:\n    attempt(os.setsid)\n    sys.exit(0)\nos.wait()"),
    "renames the host": reaches("attempt(socket.sethostname, 'x')"),
    "knows the host's name": reaches("print('ESCAPED' if socket.gethostname() == host['name'] else 'HELD')"),
    "sets the clock": reaches("attempt(time.clock_settime, time.CLOCK_REALTIME, 0)"),
    "kills all": reaches("os.fork() or time.sleep(9)\nos.kill(-1, 9)\nprint('HELD')"),
    "kills process 1": reaches(
        "for number in range(1, 65):\n    try:\n        os.kill(1, number)\n    except OSError:\n        pass\n"
        "print('HELD')"
    ),
    "leaves a daemon": reaches(
        "if os.fork() == 0:\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\nos.wait()\nprint('HELD')"
    ),
    "leaves a daemon that ignores signals": reaches(
        "if os.fork() == 0:\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "    while True:\n        pass\nprint('HELD')"
    ),
    "leaves a daemon that prints": reaches(
        "print('HELD', flush=True)\nif os.fork() == 0:\n    while True:\n        print('x', flush=True)\n"
        "        time.sleep(0.1)"
    ),
    "leaves files that cannot be removed": reaches(
        "os.makedirs('a/b/c')\nopen('a/b/c/f', 'w').close()\nos.chmod('a/b', 0)\nos.chmod('/tmp/work', 0)\n"
        "print('HELD')"
    ),
    "imitates a verdict": reaches(
        "print(json.dumps({'status': 'finished', 'exit_code': 0}))\nprint('HELD correct PASSED 1 passed in 0.01s')\n"
        "sys.stdout.flush()\nos._exit(3)"
    ),
    "more privileges by prctl": reaches(
        "for option, first in ((47, 2), (8, 1), (28, 1)):\n    ctypes.set_errno(0)\n"
        "    if libc.prctl(option, first, 21, 0, 0) == -1:\n        print('HELD')\n"
        "    else:\n        print('HELD' if option == 8 else 'ESCAPED', option)"
    ),
}

PROGRAMS = BOMBS | ATTEMPTS | CALLING
if COLUMN != 0:
    del PROGRAMS["system call of another machine"]
