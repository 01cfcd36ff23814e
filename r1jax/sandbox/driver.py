"""The first process of a jail, from bubblewrap's exec to its end: forks a process for each program it is told to run.

It is run as a file by the jail's interpreter and imports no more than it must: every import is paid by every
jail. Its side of the conversation, over a socket (jail.py has the other):

    <- READY once
    -> LENGTH with descriptors (stdin, stdout, stderr, and what else the program is to have), then the job (marshal)
    <- REPLY: wait status, CPU microseconds, peak KiB, whether all its files could be removed

Programs cannot harm it: as process 1 of its namespace it gets no signal from inside that it does not handle; with
a user id of their own they may not even ask; without, they find neither /proc nor ptrace. What a program leaves
behind, processes and files, is gone before the reply: only then has everything it has printed been printed.
"""

import _signal  # the modules without an underscore bring in enum and selectors: 10 ms
import _socket
import builtins
import marshal
import os
import resource
import struct
import sys

READY = b"R"
LENGTH = struct.Struct("<I")
REPLY = struct.Struct("<iQQ?")
CONTROL = 3
WORK = "/tmp/work"
PROGRAM = "program.py"  # what it is called in its own tracebacks
FILES = "/tmp"
PLAIN = 0o40755  # mode of the working directory as it was made
ADDRESS_SPACE_HEADROOM = 64 * 2**20  # what an interpreter maps and hardly touches
OPEN_FILES = 64
PENDING_SIGNALS = 256
STACK_BYTES = 128 * 2**20  # the kernel leaves as much room below a stack, whatever the limit was at its start
EVERYONE = -1
SIGKILL, SIGINT, SIGPIPE, SIGXFSZ = 9, 2, 13, 25


def serve(control, uid):
    """Runs one program after another; a job comes back in its own process, to be run there."""
    _signal.signal(SIGINT, _signal.SIG_DFL)  # Python would handle it: an interrupt from inside is to be ignored
    control.sendall(READY)
    while True:
        job, descriptors = receive(control)
        if job is None:
            sys.exit(0)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = os.fork()
        if child == 0:
            control.detach()  # its number is the program's now
            enter(job, descriptors, uid)
            return job
        for descriptor in descriptors:
            os.close(descriptor)
        status, peak_kib = wait_for(child)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        microseconds = int(1e6 * (used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime))
        control.sendall(REPLY.pack(status, max(0, microseconds), peak_kib, clear_files(uid)))


def receive(control):
    """A job and its descriptors; (None, []) when the parent has gone."""
    space = _socket.CMSG_SPACE(64)
    header, ancillary, _, _ = control.recvmsg(LENGTH.size, space)
    if not header:
        return None, []
    descriptors = []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors += struct.unpack(f"{len(data) // 4}i", data)
    left = LENGTH.unpack(header)[0]
    parts = []
    while left:
        parts.append(control.recv(min(left, 2**20)))
        if not parts[-1]:
            return None, []
        left -= len(parts[-1])
    return marshal.loads(b"".join(parts)), descriptors


def wait_for(child):
    """The status and peak of a program's first process, after the end of all that it has started."""
    while True:
        pid, status, used = os.wait4(EVERYONE, 0)
        if pid == child:
            break
    end_all()
    return status, used.ru_maxrss


def end_all():
    """Kills every other process of the namespace; those that ended before have been waited for, too."""
    if os.getpid() != 1:
        raise RuntimeError("this is no jail: the processes here are the host's")
    while True:
        try:
            os.kill(EVERYONE, SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.wait4(EVERYONE, 0)
        except ChildProcessError:
            return


def clear_files(uid):
    """Whether all files of a program are gone. A process of the same user does it, within the jail's deadline."""
    if is_untouched():
        return True
    child = os.fork()
    if child == 0:
        try:
            become(uid)
            for folder, folders, files in os.walk(FILES, topdown=False):
                for name in files:
                    os.unlink(os.path.join(folder, name))
                for name in folders:
                    path = os.path.join(folder, name)
                    os.unlink(path) if os.path.islink(path) else os.rmdir(path)
        except BaseException:  # whatever a program has made of its folders: the parent then takes another jail
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
    try:
        return not os.listdir(FILES)
    except OSError:  # a program has seen to it that nobody can tell
        return False


def is_untouched():
    """Whether there is the working directory and nothing else: most programs write no files."""
    try:
        return os.listdir(FILES) == [os.path.basename(WORK)] and not os.listdir(WORK) and os.stat(WORK).st_mode == PLAIN
    except OSError:
        return False


def become(uid):
    """Gives up all privileges, for good; without a uid there are none."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def enter(job, descriptors, uid):
    """Makes this process the job's: user, files, limits, and no descriptors but the job's from 0 on."""
    become(uid)
    for target, descriptor in enumerate(descriptors):  # received ones are above CONTROL, in ascending order
        os.dup2(descriptor, target)
    close_from(len(descriptors))
    os.umask(0o022)
    os.makedirs(job["work"], exist_ok=True)
    os.chdir(job["work"])
    set_limits(job)
    for name, content in job["files"].items():
        if os.path.dirname(name):
            os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "wb") as file:
            file.write(content)


def close_from(first):
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def set_limits(job):
    """Hard limits of one process, which its children inherit; the parent watches over their sum."""
    cpu = int(job["cpu_seconds"]) + 1
    space = job["memory_bytes"] + ADDRESS_SPACE_HEADROOM
    limits = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_FSIZE: (job["file_bytes"], job["file_bytes"]),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_SIGPENDING: (PENDING_SIGNALS, PENDING_SIGNALS),
        resource.RLIMIT_AS: (space, space),
    }
    if job["processes"] is not None:
        limits[resource.RLIMIT_NPROC] = (job["processes"], job["processes"])
    for kind, wanted in limits.items():
        most = resource.getrlimit(kind)[1]  # the caller may live under limits of its own
        resource.setrlimit(kind, wanted if most == resource.RLIM_INFINITY else [min(one, most) for one in wanted])


def run(job):
    """Runs the job in this process: another program, or the source as __main__ of this interpreter."""
    if job["argv"] is not None:
        for number in (SIGPIPE, SIGXFSZ):
            _signal.signal(number, _signal.SIG_DFL)
        os.execvp(job["argv"][0], job["argv"])
    _signal.signal(SIGINT, _signal.default_int_handler)
    most = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if most < 0 else min(STACK_BYTES, most), most))
    sys.set_int_max_str_digits(0)  # the limit is the time, as it was for those who wrote such programs
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = builtins
    main.__dict__["__file__"] = PROGRAM
    builtins.exit = builtins.quit = sys.exit  # the module `site`, which is left out, has them
    sys.modules["__main__"] = main
    sys.argv = [PROGRAM]
    try:
        exec(compile(job["source"], PROGRAM, "exec"), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__.tb_next  # without this frame
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(1)


def plain(job_fd, descriptors):
    """The job of unsafe mode (plain.py): this process is the program, and there is no jail."""
    with open(job_fd, "rb") as file:
        job = marshal.load(file)
    above = [os.dup(descriptor) for descriptor in descriptors]  # what `enter` expects: ascending, above their targets
    enter(job, above, None)
    return job


def main():
    if sys.argv[1] == "--plain":
        return plain(int(sys.argv[2]), [int(word) for word in sys.argv[3:]])
    os.dup2(int(sys.argv[1]), CONTROL)
    close_from(CONTROL + 1)  # what came along through bubblewrap
    control = _socket.socket(fileno=CONTROL)
    uid = None if sys.argv[2] == "-" else int(sys.argv[2])
    for module in sys.argv[3:]:
        __import__(module)
    return serve(control, uid)


if __name__ == "__main__":
    run(main())
