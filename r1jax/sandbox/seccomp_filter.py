"""The system calls that a jail may make: a list of those that ordinary programs need; all others do not exist.

A list of what is allowed, since a list of what is forbidden misses what the next kernel adds. What is not on
it fails with ENOSYS, to which the C library has an answer. Left out on purpose, with what that closes:

- ptrace, process_vm_*, pidfd_*, kcmp: other processes;
- mount and its family, unshare, setns, clone3, clone with a namespace flag, chroot, pivot_root: other views;
- socket other than AF_UNIX: the network, netlink, packets (the jail has no interface either);
- setsockopt of buffer sizes: megabytes of the kernel's memory for each socket, as many as this host allows;
- bpf, io_uring_*, userfaultfd, perf_event_open, keyctl, kexec, modules, fanotify, open_by_handle_at: the kernel;
- clock_settime and its family: the clocks;
- memfd_*, shm*, sem*, msg*, mq_*, mlock*: memory that no process's resident set shows;
- setsid, sched_set*: a jail is one session with one share of the processor, on one core;
- sync, syncfs: other people's disks.
"""

from __future__ import annotations

import errno
import socket
import tempfile

from r1jax.sandbox.jobs import SandboxUnavailable

NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET (linux/sched.h)
S_IFMT, S_IFIFO = 0o170000, 0o010000
ARG_SECOND, ARG_THIRD = 1, 2
PERSONALITIES = (0x0, 0xFFFFFFFF)  # PER_LINUX, and the question which one it is: no READ_IMPLIES_EXEC
TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x540F)  # TCGETS, TIOCGWINSZ, TIOCGPGRP; TIOCSTI writes to a terminal
FILE_IOCTLS = (0x541B, 0x5421, 0x5450, 0x5451)  # FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
SOCKET_OPTIONS = (socket.SO_REUSEADDR, socket.SO_KEEPALIVE, socket.SO_PASSCRED)

PROCESSES = """
    fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill getpid getppid gettid getpgid getpgrp
    getsid setpgid getuid geteuid getgid getegid getgroups getresuid getresgid setuid setgid setreuid setregid
    setresuid setresgid setgroups setfsuid setfsgid capget capset getrlimit setrlimit getrusage getpriority setpriority
    prctl arch_prctl set_tid_address set_robust_list get_robust_list rseq membarrier times sysinfo uname umask
    sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval getcpu getrandom restart_syscall
"""
MEMORY = (
    "brk mmap mmap2 munmap mremap mprotect madvise msync mincore futex futex_waitv pkey_alloc pkey_free pkey_mprotect"
)
SIGNALS_AND_TIME = """
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo
    rt_tgsigqueueinfo sigaltstack sigreturn pause alarm getitimer setitimer nanosleep clock_nanosleep clock_gettime
    clock_getres gettimeofday time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
    timerfd_create timerfd_gettime timerfd_settime signalfd signalfd4 eventfd eventfd2
"""
FILES = """
    open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2
    lseek _llseek stat lstat fstat newfstatat stat64 lstat64 fstat64 fstatat64 statx statfs fstatfs statfs64 fstatfs64
    access faccessat faccessat2 readlink readlinkat getcwd chdir fchdir getdents getdents64 mkdir mkdirat rmdir unlink
    unlinkat rename renameat renameat2 link linkat symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown lchown
    fchownat truncate ftruncate fallocate fsync fdatasync fadvise64 readahead utime utimes utimensat futimesat flock
    fcntl fcntl64 dup dup2 dup3 pipe pipe2 sendfile sendfile64 copy_file_range getxattr lgetxattr fgetxattr listxattr
    llistxattr flistxattr poll ppoll select _newselect pselect6 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
"""
LOCAL_SOCKETS = """
    bind listen accept accept4 connect shutdown getsockname getpeername getsockopt send recv sendto recvfrom sendmsg
    recvmsg sendmmsg recvmmsg
"""


def build() -> bytes:
    """The filter as a BPF program for this machine; SandboxUnavailable when pyseccomp or libseccomp is missing."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: it does not find libseccomp
        raise SandboxUnavailable(
            "sandbox: expected the Python package pyseccomp with the system's libseccomp, found neither or one "
            f"({error}); pip install 'r1jax[sandbox]' and, if that is not enough, apt-get install -y libseccomp2"
        ) from error
    filter_ = pyseccomp.SyscallFilter(defaction=pyseccomp.ERRNO(errno.ENOSYS))

    def allow(name: str, *conditions: pyseccomp.Arg) -> None:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number >= 0:  # else another architecture's, or newer than this libseccomp
            filter_.add_rule(pyseccomp.ALLOW, number, *conditions)

    for name in " ".join((PROCESSES, MEMORY, SIGNALS_AND_TIME, FILES, LOCAL_SOCKETS)).split():
        allow(name)
    equal, masked = pyseccomp.EQ, pyseccomp.MASKED_EQ
    for name in ("socket", "socketpair"):
        allow(name, pyseccomp.Arg(0, equal, socket.AF_UNIX))
    level = pyseccomp.Arg(ARG_SECOND, equal, socket.SOL_SOCKET)
    for option in SOCKET_OPTIONS:
        allow("setsockopt", level, pyseccomp.Arg(ARG_THIRD, equal, option))
    allow("clone", pyseccomp.Arg(0, masked, NAMESPACE_FLAGS, 0))
    allow("mknod", pyseccomp.Arg(ARG_SECOND, masked, S_IFMT, S_IFIFO))
    allow("mknodat", pyseccomp.Arg(ARG_THIRD, masked, S_IFMT, S_IFIFO))
    allow("prlimit64", pyseccomp.Arg(0, equal, 0))  # its own limits alone
    for persona in PERSONALITIES:
        allow("personality", pyseccomp.Arg(0, equal, persona))
    for request in TERMINAL_QUESTIONS + FILE_IOCTLS:
        allow("ioctl", pyseccomp.Arg(ARG_SECOND, equal, request))
    with tempfile.TemporaryFile() as file:
        filter_.export_bpf(file)
        file.seek(0)
        return file.read()
