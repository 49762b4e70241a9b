"""What the tests of hubs share: the program with a home of its own, a hub that it knows, and a look at the cache."""
import contextlib
import json
import os
import pathlib
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from fake_hub import COMMIT, Hub, etag, git_blob, sha256

BINARY = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["INKSTONE_BINARY"]).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
NANO = ROOT / "models" / "nano"
NAME = "Qwen/Qwen3-0.6B-MLX-4bit"
FOLDER = "models--Qwen--Qwen3-0.6B-MLX-4bit"
VARIABLES = ("HF_", "HUGGING", "MODELSCOPE_", "INKSTONE_", "XDG_CACHE", "http_proxy", "https_proxy", "HTTP_PROXY",
             "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "SSL_CERT", "CURL_CA", "REQUESTS_CA")


def files(seed=1, shards=3, shard_bytes=700_000):
    """Looks like a model to whoever does not open it."""
    source = random.Random(seed)
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    return {
        **{name: source.randbytes(shard_bytes + 1000 * i) for i, name in enumerate(names)},
        "config.json": b'{"model_type": "qwen3", "seed": %d}' % seed,
        "tokenizer.json": source.randbytes(200_000),
        "tokenizer_config.json": b"{}",
        "model.safetensors.index.json": json.dumps({"weight_map": {f"w{i}": n for i, n in enumerate(names)}}).encode(),
        "empty.json": b"",
        "README.md": b"not for a runtime",
        "modeling_qwen.py": b"raise SystemExit('never executed')",
        "onnx/model.json": b"not of the top folder",
    }


def wanted(all_files):
    return {path: data for path, data in all_files.items()
            if "/" not in path and path.endswith((".json", ".safetensors", ".jinja", "merges.txt"))}


class Case(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="inkstone-hub-")
        self.addCleanup(temporary.cleanup)
        self.home = pathlib.Path(temporary.name)
        self.cache = self.home / "hub"
        self.hub = self.enter(Hub(files()))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
        self.environment.update(HOME=str(self.home), HF_HUB_CACHE=str(self.cache), HF_ENDPOINT=self.hub.url,
                                MODELSCOPE_CACHE=str(self.home / "ms"), MODELSCOPE_ENDPOINT=self.hub.url,
                                no_proxy="127.0.0.1")

    def enter(self, manager):
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def start(self, *arguments, **variables):
        environment = {**self.environment, **{name: value for name, value in variables.items() if value is not None}}
        for name in [name for name, value in variables.items() if value is None]:
            environment.pop(name, None)
        return subprocess.Popen([BINARY, *map(str, arguments)], env=environment, stdin=subprocess.DEVNULL, cwd=self.home,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_it(self, *arguments, code=0, **variables):
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, f"{arguments}: {out}{err}")
        if code:
            self.assertEqual(out, "")
            self.assertEqual(err.count("inkstone: "), 1, err)
        return out if code == 0 else err

    def pull(self, *arguments, code=0, retries=2, **variables):
        return self.run_it("pull", NAME, "--retries", retries, *arguments, code=code, **variables)

    def refused(self, *says, code=4, **variables):
        error = self.pull(code=code, **variables)
        for text in says:
            self.assertIn(text, error)
        self.assertFalse((self.cache / FOLDER / "refs").exists())
        self.assert_nothing_outside()

    def assert_nothing_outside(self):
        allowed = {"hub", "ms", "token", "bundle.pem"}
        self.assertLessEqual({path.name for path in self.home.iterdir()}, allowed)

    def assert_whole(self, all_files=None, commit=COMMIT, ref="main", unfinished=0):
        """The layout as huggingface_hub writes and reads it."""
        model, all_files = self.cache / FOLDER, wanted(all_files or self.hub.repositories[NAME])
        self.assertEqual((model / "refs" / ref).read_text(), commit)
        snapshot = model / "snapshots" / commit
        self.assertEqual(sorted(path.name for path in snapshot.iterdir()), sorted(all_files))
        for path, data in all_files.items():
            self.assertEqual(os.readlink(snapshot / path), f"../../blobs/{etag(path, data)}")
            self.assertEqual((snapshot / path).read_bytes(), data, path)
        self.assertEqual(len(list((model / "blobs").glob("*.incomplete"))), unfinished)
        self.assert_sound()

    def assert_sound(self):
        """Whatever happened: what has its name has the right bytes."""
        model = self.cache / FOLDER
        for blob in (model / "blobs").glob("*"):
            if not blob.name.endswith(".incomplete"):
                data = blob.read_bytes()
                self.assertIn(blob.name, (sha256(data), git_blob(data)))
        for link in model.glob("snapshots/*/*"):
            if not link.name.startswith("."):
                self.assertTrue(link.is_file(), link)
        if (model / "refs" / "main").exists():
            snapshot = model / "snapshots" / (model / "refs" / "main").read_text()
            self.assertTrue((snapshot / "config.json").is_file())
            self.assertEqual(len(list(snapshot.glob("*.safetensors"))), 3)


def on_terminal(case, *arguments, keys=""):
    """Exit code and screen of the program at a keyboard."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(case.home)
        os.execve(BINARY, ["inkstone", *arguments], {**case.environment, "TERM": "xterm"})
    os.write(terminal, keys.encode())
    screen, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        with contextlib.suppress(OSError):
            piece = os.read(terminal, 1 << 16)
            screen += piece
            if piece:
                continue
        break
    else:
        os.kill(child, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen.decode(errors="replace")


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
