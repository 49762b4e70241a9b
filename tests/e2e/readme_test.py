#!/usr/bin/env python3
"""Runs every command of README.md and HACKING.md: readme_test.py BINARY (or env INKSTONE_BINARY).

Each line of a ```sh block is a command, and so is each `./run ...` in a row of a README table. They run in order with
bash, in a scratch folder that shows the repository's files, with a HOME and a TMPDIR of their own; ./run is the binary.
What they fetch comes from a hub on loopback, where nano stands for every model that they name.
A ```text block right after a ```sh block is the standard input of its last command. A command must exit with 0, or with
what a comment "# exits N" at its end says. The README's tables of verbs and exit codes must be the program's.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from fake_hub import Hub

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ("./test", ".ci/run")  # they contain this test: only looked at
SKIPPED = [
    (re.compile(r"git clone "), "needs the network"),
    (re.compile(r"cd inkstone$"), "goes into the clone"),
    (re.compile(r"cmake --preset fuzz "), "searches until somebody stops it"),
]
FENCE = re.compile(r"^```(\w*)\s*$")
EXITS = re.compile(r"\s+#\s*exits\s+(\d+)\s*$")
TIMEOUT_S = 300


def commands_of(path):
    """(line number, command, standard input) of a Markdown file, in order."""
    found, kind, block, last = [], None, [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        fence = FENCE.match(line)
        if kind is None and fence:
            kind, block = fence.group(1), []
        elif kind is not None and line == "```":
            if kind == "sh":
                found += [[at, command, ""] for at, command in joined(block)]
                last = found[-1] if block else None
            else:
                if kind == "text" and last:
                    last[2] = "".join(text + "\n" for _, text in block)
                last = None
            kind = None
        elif kind is not None:
            block.append((number, line))
        elif line.strip():
            last = None
            if path.name == "README.md" and line.startswith("|"):
                found += [[number, span, ""] for span in re.findall(r"`(\./run [^`]+)`", line)]
    if kind is not None:
        raise SystemExit(f"{path.name}: a block does not end")
    return found


def joined(block):
    """Lines that end with a backslash go on in the next; empty ones and comments are nothing."""
    pending, start = "", 0
    for number, line in block:
        start = start if pending else number
        if line.endswith("\\"):
            pending += line[:-1]
            continue
        if (pending + line).strip() and not line.lstrip().startswith("#"):
            yield start, pending + line
        pending = ""


def scratch(folder, binary):
    """The repository as links, without what was built and with the binary as ./run."""
    for entry in ROOT.iterdir():
        if entry.name not in ("run", "build", ".git"):
            (folder / entry.name).symlink_to(entry)
    (folder / "run").write_text(f'#!/bin/sh\nexec "{binary}" "$@"\n')
    (folder / "run").chmod(0o755)


def check(command, text, folder, environment):
    """What is wrong with a command; None if nothing is."""
    if command.split()[0] in SCRIPTS:
        script = ROOT / command.split()[0]
        return None if script.is_file() and os.access(script, os.X_OK) else "not an executable file"
    exits = EXITS.search(command)
    expected = int(exits.group(1)) if exits else 0
    try:
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, env=environment,
                              input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"ran for more than {TIMEOUT_S} s"
    if done.returncode != expected:
        return f"exit code {done.returncode}, expected {expected}:\n{done.stderr.decode(errors='replace')[-2000:]}"
    if expected and not done.stderr:
        return f"exit code {expected} without a word on stderr"
    return None


def check_tables(binary):
    """What the README's tables and the program say differently."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = lambda title: readme.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    usage = subprocess.run([binary, "--help"], check=True, capture_output=True, text=True).stdout
    verbs = set(re.findall(r"^  ([a-z]+)\s", usage.partition("Subcommands:")[2], re.M))
    listed = set(re.findall(r"^\| `(\w+)`", section("Verbs"), re.M))
    if not verbs or verbs != listed:
        yield f"README.md: verbs: found {sorted(listed)}, expected {sorted(verbs)}"
    source = (ROOT / "src/base/error.cpp").read_text(encoding="utf-8")
    codes = {0} | {int(code) for code in re.findall(r"case Errc::\w+: return (\d+);", source)}
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), re.M)}
    if codes != listed:
        yield f"README.md: exit codes: found {sorted(listed)}, expected {sorted(codes)}"


def main():
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["INKSTONE_BINARY"]).resolve()
    problems, ran = list(check_tables(binary)), 0
    if not os.access(ROOT / "run", os.X_OK):
        problems.append("run: not an executable file")
    nano = {path.name: path.read_bytes() for path in (ROOT / "models" / "nano").iterdir()}
    with Hub(nano) as hub, tempfile.TemporaryDirectory(prefix="inkstone-readme-") as temporary:
        folder, home, tmp = (pathlib.Path(temporary) / name for name in ("here", "home", "tmp"))
        for path in (folder, home, tmp):
            path.mkdir()
        scratch(folder, binary)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_CACHE"))}
        environment.update(HOME=str(home), TMPDIR=str(tmp), HF_ENDPOINT=hub.url, no_proxy="127.0.0.1")
        for name in ("README.md", "HACKING.md"):
            commands = commands_of(ROOT / name)
            if not commands:
                problems.append(f"{name}: found no commands")
            for number, command, text in commands:
                reason = next((reason for pattern, reason in SKIPPED if pattern.match(command)), None)
                print(f"{name}:{number}: {command}" + (f"  (skipped: {reason})" if reason else ""), flush=True)
                if reason:
                    continue
                ran += 1
                problem = check(command, text, folder, environment)
                if problem:
                    problems.append(f"{name}:{number}: {command}: {problem}")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{ran} commands, {len(problems)} problems")
    sys.exit(1 if problems or not ran else 0)


main()
