"""What a process that reads files may touch: Linux's own means, asked for without a library. Runs in the parser's process.

Each guard holds by itself, and is left out where the kernel doesn't know it; `confine` says which ones those are.
Sources: https://man7.org/linux/man-pages/man2/prctl.2.html, …/man2/seccomp.2.html, …/man7/landlock.7.html
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SIGKILL = 9
MOST_OPEN_FILES = 256
MOST_WRITTEN_BYTES = 1024**3

# What the machine calls a system call by number: no sockets, no reach into other processes, no way out of the group.
# Source: the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h
_DENIED = {
    "x86_64": {
        "socket": 41, "connect": 42, "bind": 49, "socketpair": 53, "kill": 62, "ptrace": 101, "setpgid": 109,
        "setsid": 112, "rt_sigqueueinfo": 129, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
        "mount": 165, "tkill": 200, "sched_setaffinity": 203, "tgkill": 234, "add_key": 248, "request_key": 249,
        "keyctl": 250, "unshare": 272, "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "sched_setattr": 314, "bpf": 321, "userfaultfd": 323,
        "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
    },
    "aarch64": {
        "mount": 40, "unshare": 97, "ptrace": 117, "sched_setparam": 118, "sched_setscheduler": 119,
        "sched_setaffinity": 122, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "setpriority": 140,
        "setpgid": 154, "setsid": 157, "socket": 198, "socketpair": 199, "bind": 200, "connect": 203, "add_key": 217,
        "request_key": 218, "keyctl": 219, "rt_tgsigqueueinfo": 240, "perf_event_open": 241, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "sched_setattr": 274, "bpf": 280, "userfaultfd": 282,
        "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
    },
}  # fmt: skip
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Sets another process's limits, or its own: allowed for its own alone.
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_X32_BIT = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE, _READ, _LIST = 1, 1 << 1, 1 << 2, 1 << 3
# By version of Landlock: how many of its rights over files there are.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_RIGHTS = 16
# What libraries look at while they load: the loader's list, the clock's zone, how many processors there are.
_SYSTEM_FILES = (
    "/usr", "/lib", "/lib64", "/bin", "/opt", "/var/lang", "/var/task", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/mime.types", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu",
    "/dev/urandom",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take: bytes of address space, and seconds of processor time."""

    memory_bytes: int
    cpu_seconds: int


def hide_process() -> None:
    """Keep this process's memory and environment from others of the same user: nothing of it can be read in /proc."""
    if sys.platform == "linux":
        _prctl(PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that made it ends."""
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, SIGKILL)


def confine(limits: Limits, *, readable: Iterable[Path], writable: Path) -> tuple[str, ...]:
    """Give up, for good, what a reader of files has no use for; answers with the guards that this system has not.

    After it: no privileges and no way to any, no network, no signal to or look into other processes, files only below
    `readable` and the system's libraries, written only below `writable`.
    """
    _limit(limits)
    if sys.platform != "linux":
        return ("no network", "no other processes", "no other files")
    missing = [] if _prctl(PR_SET_NO_NEW_PRIVS, 1) else ["no new privileges"]
    missing += [] if _drop_capabilities() else ["no privileges"]
    missing += [] if _restrict_files(readable, writable) else ["no other files"]
    missing += [] if _restrict_calls() else ["no network", "no other processes"]
    return tuple(missing)


def _limit(limits: Limits) -> None:
    wanted = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NOFILE: MOST_OPEN_FILES,
        resource.RLIMIT_FSIZE: MOST_WRITTEN_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        wanted[resource.RLIMIT_AS] = limits.memory_bytes
    for name, value in wanted.items():
        # The hard limit of processor time is a second later: at the soft one the kernel says why it ends the process.
        most = value + 1 if name == resource.RLIMIT_CPU else value
        hard = resource.getrlimit(name)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (min(value, most), most))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *values: object) -> bool:
    padded = [*values, 0, 0, 0, 0][:4]
    return bool(_libc().prctl(option, *(ctypes.c_ulong(v) if isinstance(v, int) else v for v in padded)) == 0)


def _drop_capabilities() -> bool:
    header = struct.pack("Ii", 0x20080522, 0)
    return bool(_libc().capset(ctypes.c_char_p(header), ctypes.c_char_p(bytes(24))) == 0)


def _restrict_calls() -> bool:
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    program = _filter(_ARCHITECTURE[machine], sorted(_DENIED[machine].values()), _PRLIMIT[machine])
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return _prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(described))


def _filter(architecture: int, denied: list[int], prlimit: int) -> bytes:
    """A program of the Berkeley packet filter: refuse these calls, and those of another architecture."""
    refuse, allow = (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), refuse, (_LOAD, 0, 0, 0)]
    steps += [(_AT_LEAST, 0, 1, _X32_BIT), refuse]
    for number in denied:
        steps += [(_EQUAL, 0, 1, number), refuse]
    # The first argument is the process; 0 is oneself.
    steps += [(_EQUAL, 0, 3, prlimit), (_LOAD, 0, 0, 16), (_EQUAL, 1, 0, 0), refuse, allow]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _restrict_files(readable: Iterable[Path], writable: Path) -> bool:
    libc = _libc()
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    rights = (1 << _RIGHTS.get(version, _ALL_RIGHTS)) - 1
    ruleset = libc.syscall(
        _LANDLOCK_CREATE, ctypes.c_char_p(struct.pack("Q", rights)), ctypes.c_size_t(8), ctypes.c_uint32(0)
    )
    if ruleset < 0:
        return False
    look = _EXECUTE | _READ | _LIST
    for path in (*map(Path, _SYSTEM_FILES), *readable):
        _allow(libc, ruleset, path, look)
    _allow(libc, ruleset, Path(os.devnull), _READ | _WRITE)
    _allow(libc, ruleset, writable, rights & ~_EXECUTE)
    done = libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    return bool(done)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Add a rule for what is at and below the path, if it is there."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = rights if path.is_dir() else rights & (_EXECUTE | _READ | _WRITE)
    rule = ctypes.c_char_p(struct.pack("=Qi", rights, place))
    libc.syscall(_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    os.close(place)
