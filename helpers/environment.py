"""Set up a virtual environment: whole, or left as it was before.

``make`` calls this with the Python that the environment is to have, before any package is there.
So it needs nothing but Python's own library, and an older Python can read it, and say that it is
too old.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
KERNEL_CONFIG = '{"IPKernelApp": {"log_level": "ERROR"}}'


def set_up(folder: Path, requirements: Path) -> None:
    """Install the packages of a requirements file into a virtual environment of their own.

    The new environment is made beside the old one, and takes its place when it is whole. Its file
    `installed` is a copy of the requirements that it was made from: dates say nothing, since a
    branch checked out and back, or a copy of the folder, changes them.

    Parameters
    ----------
    folder : the environment, such as .venv
    requirements : a list of packages as pip reads it; if uv is among them, uv installs the others
    """
    new, old = (folder.with_name(f"{folder.name}.{age}") for age in ("new", "old"))
    lock = _lock(folder)
    if old.exists() and not folder.exists():  # a set-up was killed between its last two steps
        old.rename(folder)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    if _is_current(folder, requirements):  # another command has just set it up
        return
    when = f"once, and whenever {requirements.name} changes"
    print(f"Setting up {folder.name}, some GB: {when}.", flush=True)
    try:
        _build(new, requirements, lock)
        _rename_in_scripts(new, folder.name)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_current(folder: Path, requirements: Path) -> bool:
    installed = folder / "installed"
    return installed.exists() and installed.read_bytes() == requirements.read_bytes()


def _lock(folder: Path) -> "int | None":
    """Wait until no other process sets up an environment beside this one, and keep others waiting.

    Returns
    -------
    The file descriptor that holds the lock until the process ends. Whoever inherits it holds the
    lock, too: if this process is killed, the next one waits for the installer that it left behind.
    None on Windows, which has no such lock: two commands started at once disturb each other there.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    lock = os.open(folder.parent, os.O_RDONLY)  # the folder itself, so that no file stays behind
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another command is setting up; waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass
    return lock


def _build(folder: Path, requirements: Path, lock: "int | None") -> None:
    """Make an environment that has all it needs, and mark it as whole."""

    def python(*arguments: object) -> None:
        command = [str(folder / SCRIPTS / "python"), *map(str, arguments)]
        subprocess.run(command, check=True, pass_fds=() if lock is None else (lock,))

    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # Scripts that uv writes then find Python beside themselves, wherever the folder is moved.
    with (folder / "pyvenv.cfg").open("a", encoding="utf-8") as settings:
        settings.write("relocatable = true\n")
    text = requirements.read_text(encoding="utf-8")
    hashes = ["--require-hashes"] if "--hash=" in text else []
    options = ["--disable-pip-version-check", "--no-user", "--quiet", *hashes]
    pip_install = ["-m", "pip", "install", *options, "-r"]
    uv = re.search(r"^uv==.*(?:\n +--hash=.*)*", text, re.MULTILINE)
    if uv:
        (folder / "uv.txt").write_text(uv[0], encoding="utf-8")
        python(*pip_install, folder / "uv.txt")
        # Without bytecode: Python writes that of what it imports, and most packages never are.
        uv_install = ["-m", "uv", "pip", "install", "--quiet", *hashes, "-r", requirements]
        try:
            python(*uv_install, "--python", folder / SCRIPTS / "python")
        except subprocess.CalledProcessError:
            print("uv could not install the packages; trying pip.", flush=True)
            python(*pip_install, requirements)
    else:
        python(*pip_install, requirements)
    # Else each start of a kernel warns that its messages are not encrypted: they stay on the machine.
    kernel_config = folder / "etc" / "ipython" / "ipython_kernel_config.json"
    kernel_config.parent.mkdir(parents=True, exist_ok=True)
    kernel_config.write_text(KERNEL_CONFIG, encoding="utf-8")
    shutil.copyfile(requirements, folder / "installed")


def _rename_in_scripts(folder: Path, name: str) -> None:
    """Have `activate` and pip's scripts name the environment as it will be called."""
    for path in [folder / "pyvenv.cfg", *(folder / SCRIPTS).iterdir()]:
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content[:4096]:  # the others are programs
            path.write_bytes(content.replace(os.fsencode(folder.name), os.fsencode(name)))


def main(name: str, requirements: str) -> None:
    """Set up ROOT/name with a requirements file; if that cannot be done, end with a sentence."""
    version = sys.version_info[:2]
    if not (3, 11) <= version < (3, 14):
        found = f"{sys.executable} is {version[0]}.{version[1]}"
        advice = "name another: make PYTHON=python3.12 ..."
        sys.exit(f"error: Python 3.11 to 3.13 is needed, {found}; {advice}")
    try:
        set_up(ROOT / name, ROOT / requirements)
    except (subprocess.CalledProcessError, OSError) as error:
        if isinstance(error, OSError):  # the others have said themselves what is wrong
            print(error, file=sys.stderr)
        advice = "Is there a network, and room on the disk? The same command tries again."
        failed = f"{requirements} could not be installed"
        sys.exit(f"error: {failed}. {name} is {_state(name)}. {advice}")
    except KeyboardInterrupt:
        sys.exit(f"Stopped. {name} is {_state(name)}. The same command starts again.")


def _state(name: str) -> str:
    return "left as it was" if (ROOT / name).exists() else "not there yet"


if __name__ == "__main__":
    main(*sys.argv[1:])
