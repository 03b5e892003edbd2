"""machine.py - an emulated machine whose processor has counters: boots Debian's kernel for another architecture with a
cross build of alloclab in its first file system, lets it run a list of commands, and reads back what each printed.

The emulator counts instructions (-icount), so the same boot does the same: time is virtual, and passes at once while the
machine waits. Its clock starts at the same time in each boot, its random numbers at the same seed, and addresses are not
randomised in it."""

import collections
import gzip
import os
import re
import shutil
import subprocess
import tempfile

Architecture = collections.namedtuple("Architecture", "triplet loader emulator console kernel")
ARCHITECTURES = {
    "arm64": Architecture(
        "aarch64-linux-gnu", "ld-linux-aarch64.so.1",
        ["qemu-system-aarch64", "-M", "virt", "-cpu", "neoverse-n1{cpu}", "-icount", "shift=2,sleep=off"],
        "ttyAMA0", "vmlinuz"),
    "riscv64": Architecture(
        "riscv64-linux-gnu", "ld-linux-riscv64-lp64d.so.1",
        ["qemu-system-riscv64", "-M", "virt", "-cpu", "rv64,sscofpmf=on{cpu}", "-icount", "shift=0,sleep=off"],
        "ttyS0", "vmlinu"),
}
LIBRARIES = ["libc.so.6", "libm.so.6"]
BOOT_SECONDS = 600  # of real time, on a machine that does other work as well
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs -o mode=1777 tmp /tmp
echo 0 > /proc/sys/kernel/randomize_va_space
ask() {
    name=$1; shift
    sh -c "$*" > /tmp/out 2> /tmp/err < /dev/null
    status=$?
    echo "@@out $name"; cat /tmp/out; echo "@@err $name"; cat /tmp/err; echo "@@end $name $status"
}
. /commands
echo @@done
poweroff -f
"""

Answer = collections.namedtuple("Answer", "status out err")


class MachineError(Exception):
    """The machine did not do what it was told to: there is nothing to judge."""


def parse(console):
    """What each command answered, by name, from what the machine's console showed."""
    answers, name, parts, part = {}, None, {}, None
    done = False
    for line in console.replace("\r", "").split("\n"):
        mark = re.match(r"@@(out|err|end|done)(?: (\S+))?(?: (\d+))?$", line)
        if not mark:
            if part:
                parts[part].append(line)
            continue
        kind, of, status = mark.groups()
        if kind == "done":
            done = True
        elif kind == "out":
            if name:
                raise MachineError(f"'{name}' never ended, and '{of}' began")
            name, part, parts = of, "out", {"out": [], "err": []}
        elif of != name:
            raise MachineError(f"'@@{kind} {of}' in the midst of '{name}'")
        elif kind == "err":
            part = "err"
        else:
            answers[name] = Answer(int(status), *("\n".join(parts[k]) for k in ("out", "err")))
            name = part = None
    if not done:
        raise MachineError(f"it stopped {'in ' + repr(name) if name else 'between commands'}; the last lines of its "
                           "console:\n" + "\n".join(console.replace("\r", "").split("\n")[-15:]))
    return answers


def commands_text(commands):
    """The list as the machine's shell reads it; a command may hold any quotes."""
    return "".join("ask {} '{}'\n".format(name, command.replace("'", "'\\''")) for name, command in commands.items())


def _install(source, folder, path, mode=0o755):
    target = os.path.join(folder, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, mode)


def _write(folder, path, text, mode=0o644):
    with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(os.path.join(folder, path), mode)


def file_system(arch, commands, build):
    """The machine's first file system, packed."""
    about = ARCHITECTURES[arch]
    root = os.path.join("build", "foreign", arch, "files")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # others than root live in it, too
        for path in "proc", "sys", "dev", "tmp", "bin", "etc":
            os.makedirs(os.path.join(folder, path))
        busybox = next(p for p in (os.path.join(root, "usr/bin/busybox"), os.path.join(root, "bin/busybox"))
                       if os.path.exists(p))
        _install(busybox, folder, "bin/busybox")
        for library in [about.loader] + LIBRARIES:
            _install(f"/usr/{about.triplet}/lib/{library}", folder, f"lib/{library}")
        for program, name in (("alloclab", "alloclab"), ("pmu-guest", "guest")):
            _install(os.path.join(build, program), folder, name)
            subprocess.run([f"{about.triplet}-strip", os.path.join(folder, name)], check=True)
        _write(folder, "etc/passwd", "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
        _write(folder, "commands", commands_text(commands))
        _write(folder, "init", INIT, 0o755)
        names = subprocess.run(["find", "."], cwd=folder, stdout=subprocess.PIPE, check=True).stdout
        packed = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=folder, input=names,
                                stdout=subprocess.PIPE, check=True).stdout
    return gzip.compress(packed, 1)


def boot(arch, commands, cpu=""):
    """Runs the commands ({name: shell text}) in a machine of its own; {name: Answer}."""
    about = ARCHITECTURES[arch]
    boot_folder = os.path.join("build", "foreign", arch, "files", "boot")
    kernel = next(os.path.join(boot_folder, name) for name in sorted(os.listdir(boot_folder))
                  if name.startswith(about.kernel))
    with tempfile.NamedTemporaryFile(suffix=".gz") as initrd:
        initrd.write(file_system(arch, commands, os.path.join("build", arch)))
        initrd.flush()
        command = [word.format(cpu=cpu) for word in about.emulator] + [
            "-seed", "1", "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-m", "256", "-nodefaults", "-nographic",
            "-serial", "stdio", "-no-reboot", "-kernel", kernel,
            "-initrd", initrd.name, "-append", f"console={about.console} panic=-1 quiet"]
        try:
            got = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 timeout=BOOT_SECONDS, check=False)
        except subprocess.TimeoutExpired as late:
            raise MachineError(f"not done after {BOOT_SECONDS} s; the last it said: "
                               f"{(late.stdout or b'')[-500:].decode(errors='replace')}") from late
    return parse(got.stdout.decode(errors="replace"))
