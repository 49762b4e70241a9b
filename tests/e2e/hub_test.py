#!/usr/bin/env python3
"""pull, list, rm and named models against a hub on loopback: hub_test.py BINARY [TEST...]."""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import random
import re
import select
import shutil
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


class Pull(Case):
    def test_layout_and_nothing_twice(self):
        out = self.pull()
        self.assertEqual(out.strip(), str(self.cache / FOLDER / "snapshots" / COMMIT))
        self.assert_whole()
        fetched = len(self.hub.files_fetched())
        self.assertEqual(fetched, len(wanted(files())) - 1)  # nobody asks for the bytes of an empty file
        self.assertTrue(any((self.cache / ".locks" / FOLDER).iterdir()))
        report = json.loads(self.pull("--json"))
        self.assertEqual(len(self.hub.files_fetched()), fetched)
        self.assertEqual((report["received"], report["commit"]), (0, COMMIT))
        self.assertEqual(report["bytes"], sum(map(len, wanted(files()).values())))

    def test_new_commit_keeps_the_old_until_it_is_whole(self):
        self.pull()
        self.hub.commit = "f" * 40
        changed = {**files(), "config.json": b'{"new": 1}'}
        self.hub.repositories[NAME] = changed
        self.hub.errors = [(500, b"", {})] * 3
        self.pull(code=9)
        self.assert_whole(files(), unfinished=1)
        before = len(self.hub.files_fetched())
        self.pull()
        self.assertEqual(len(self.hub.files_fetched()), before + 1)
        self.assert_whole(changed, "f" * 40)

    def test_revisions(self):
        self.pull("--revision", "refs/pr/1")
        self.assertIn("/revision/refs%2Fpr%2F1?", self.hub.requests[0][1])
        self.assert_whole(ref="refs/pr/1")
        self.pull("--revision", COMMIT)
        for revision in ("../../x", "/x", "a/../../b", "a b"):
            self.pull(f"--revision={revision}", code=2)

    def test_token_stays_with_the_hub(self):
        cdn = self.enter(Hub())
        self.hub.cdn, self.hub.token = cdn, "hf_secret"
        self.assertIn("token", self.pull(code=3))
        self.pull(HF_TOKEN="hf_secret")
        self.assert_whole()
        self.assertTrue(cdn.requests)
        for _, _, headers in cdn.requests:
            self.assertNotIn("secret", json.dumps(headers))
        (self.home / "token").write_text("hf_secret\n")
        self.run_it("rm", NAME, "--yes")
        self.pull(HF_TOKEN_PATH=str(self.home / "token"))
        self.pull(HF_TOKEN="a b", code=2)

    def test_resume_by_range(self):
        for self.hub.range_status in (206, 200):  # ModelScope sends the rest with 200
            self.hub.repositories[NAME] = files(self.hub.range_status)
            name = "model-00001-of-00003.safetensors"
            data = self.hub.repositories[NAME][name]
            blobs = self.cache / FOLDER / "blobs"
            blobs.mkdir(parents=True, exist_ok=True)
            (blobs / f"{sha256(data)}.incomplete").write_bytes(data[:300_000])
            self.hub.requests.clear()
            self.pull()
            self.assert_whole()
            ranges = [headers.get("Range") for _, path, headers in self.hub.requests if path.endswith(name)]
            self.assertEqual(ranges, ["bytes=300000-"])
            self.run_it("rm", NAME, "--yes")

    def test_damaged_partial_file_is_fetched_anew(self):
        data = files()["model-00001-of-00003.safetensors"]
        blobs = self.cache / FOLDER / "blobs"
        for bad in (b"x" * 1000, b"x" * len(data), data + b"more"):
            blobs.mkdir(parents=True)
            (blobs / f"{sha256(data)}.incomplete").write_bytes(bad)
            self.pull()
            self.assert_whole()
            self.run_it("rm", NAME, "--yes")

    def test_hub_without_ranges(self):
        self.hub.ranges = False
        data = files()["model-00001-of-00003.safetensors"]
        blobs = self.cache / FOLDER / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{sha256(data)}.incomplete").write_bytes(data[:1000])
        self.pull()
        self.assert_whole()

    def test_busy_hub(self):
        self.hub.listing_errors = [(429, b"", {"Retry-After": "1"})]
        self.hub.errors = [(503, b"", {}), (429, b"", {"Retry-After": "1"})]
        started = time.monotonic()
        self.pull()
        self.assertGreater(time.monotonic() - started, 2)
        self.assert_whole()
        self.hub.listing_errors = [(429, b"", {"Retry-After": "86400"})]
        self.assertIn("86400 seconds", self.pull(code=9))

    def test_not_there(self):
        self.assertIn("404", self.run_it("pull", "Qwen/Nothing", code=3))
        self.hub.listing_errors = [(403, b"", {"X-Error-Message": "Access to model is restricted"})]
        self.assertIn("Access to model is restricted", self.pull(code=3))
        for name in ("../x", "a/b/c", "/etc/passwd", "a--b/c", ".a/b", "qwen3:99b", "a/b\\c", ""):
            self.run_it("pull", name, code=2)
        self.hub.repositories["Qwen/Gguf"] = {"model.gguf": b"x"}
        self.run_it("pull", "Qwen/Gguf", code=5)

    def test_no_connection(self):
        self.assertIn("gave up", self.pull(HF_ENDPOINT="http://127.0.0.1:9", code=9))
        for endpoint in ("http://example.invalid", "ftp://127.0.0.1", "file:///etc", "nonsense",
                         self.hub.url.replace("//", "//user:secret@")):
            self.pull(HF_ENDPOINT=endpoint, code=2)

    def test_alias_and_offline(self):
        self.run_it("pull", "Qwen3:0.6B", "--offline", code=3)
        self.run_it("pull", "qwen3:0.6b", HF_HUB_OFFLINE="1", code=3)
        self.assertEqual(self.hub.requests, [])
        self.run_it("pull", "qwen3:0.6b-4bit")
        count = len(self.hub.requests)
        self.assertIn(COMMIT, self.run_it("pull", "qwen3:0.6b", HF_HUB_OFFLINE="yes"))
        self.assertEqual(len(self.hub.requests), count)

    def test_ctrl_c_and_disk_full(self):
        self.hub.chunk_pause_s = 0.05
        process = self.start("pull", NAME)
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        self.assertIn("interrupted", process.communicate(timeout=20)[1])
        self.assertEqual(process.returncode, 130)
        self.hub.chunk_pause_s = 0
        limited = subprocess.run(["bash", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$@"', "bash", BINARY, "pull", NAME],
                                 env=self.environment, capture_output=True, text=True)
        self.assertEqual(limited.returncode, 9, limited.stderr)
        self.assertIn("cannot write", limited.stderr)
        self.hub.edit = lambda listing: listing["siblings"][0]["lfs"].update(size=1 << 41)
        self.assertIn("disk full", self.pull(code=9))
        self.hub.edit = None
        self.pull()
        self.assert_whole()

    def test_progress_on_a_terminal(self):
        self.hub.chunk_pause_s = 0.02
        code, screen = on_terminal(self, "pull", NAME)
        self.assertEqual(code, 0, screen)
        self.assertIn("files, 2.3 MB, 2.3 MB to fetch from", screen)
        self.assertRegex(screen, r"MB of 2\.3 MB")

    def test_https(self):
        bundle = self.home / "bundle.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", bundle, "-out",
                        self.home / "hub.crt", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        certificate = (self.home / "hub.crt").read_text()
        (self.home / "hub.crt").unlink()
        bundle.write_text(bundle.read_text() + certificate)
        secure = self.enter(Hub(files(), tls=bundle))
        self.refused("certificate", code=9, HF_ENDPOINT=secure.url)
        secure.redirect = lambda path: f"{self.hub.url}/{NAME}/resolve/{COMMIT}/{path}"
        self.refused("expected https", code=9, HF_ENDPOINT=secure.url, SSL_CERT_FILE=str(bundle))
        secure.redirect = None
        self.pull(HF_ENDPOINT=secure.url, SSL_CERT_FILE=str(bundle))
        self.assert_whole()


class Hostile(Case):
    def test_names(self):
        for name in ("../../x.json", "/tmp/x.json", "a/../../x.json", "a\\b.json", "", ".", "..", "a//b.json", "./x.json",
                     "x\0.json", "x\n.json", "x" * 300 + ".json", "a/" * 600 + "x.json"):
            self.hub.edit = lambda listing: listing["siblings"].append({"rfilename": name, "size": 1, "blobId": "0" * 40})
            self.refused("expected a path inside the repository")
        self.assertEqual(self.hub.files_fetched(), [])

    def test_digests_sizes_and_json(self):
        entry = lambda **fields: lambda listing: listing["siblings"][3].update(fields)  # config.json
        for edit, says in (
                (entry(blobId="../../../x"), "expected 40 hexadecimal digits"),
                (entry(blobId="A" * 40), "expected 40 hexadecimal digits"),
                (entry(blobId=7), "expected a string"),
                (entry(blobId=None), "expected a string"),
                (entry(lfs={"sha256": "a/b", "size": 1}), "expected 64 hexadecimal digits"),
                (entry(lfs=[]), "sha256"),
                (entry(size=-1), "expected 0 to"),
                (entry(size=1 << 60), "expected 0 to"),
                (entry(size=1e300), "expected an integer"),
                (entry(size="1"), "expected an integer"),
                (entry(rfilename="tokenizer.json"), "twice"),
                (lambda listing: listing.update(sha="../x"), "expected a commit"),
                (lambda listing: listing.pop("sha"), "sha"),
                (lambda listing: listing.update(siblings={}), "expected an array"),
                (lambda listing: listing["siblings"].append(3), "rfilename"),
                (lambda listing: listing["siblings"].extend(
                    {"rfilename": f"{i}.json", "size": 0, "blobId": "0" * 40} for i in range(3000)), "more than")):
            self.hub.edit = edit
            self.refused(says)
        self.hub.edit = None
        for listing in (b"", b"<html>", b"[" * 5000, b'{"sha": "\xff"}', b"null", b"[]"):
            self.hub.listing = listing
            self.refused(NAME)
        self.hub.listing = b" " * (40 << 20)
        self.refused("more than")

    def test_lies(self):
        self.hub.body = lambda path, data: data[:-1] + b"!" if path == "model-00002-of-00003.safetensors" else data
        self.refused("sha256", "thrown away")
        shutil.rmtree(self.cache)
        self.hub.body = lambda path, data: b"{ }" if path == "tokenizer_config.json" else data  # and of another length
        self.refused("tokenizer_config.json", code=9)
        self.hub.body = lambda path, data: b"[]" if path == "tokenizer_config.json" else data
        self.refused("git blob", "thrown away")
        self.hub.body = None
        for lie in (lambda path, length: length + 5, lambda path, length: max(length - 5, 0), lambda path, length: 0):
            self.hub.length = lie
            self.refused("gave up", code=9)
        self.hub.length = None
        self.pull()
        self.assert_whole()

    def test_redirects(self):
        self.hub.redirect = lambda path: f"/{NAME}/resolve/{COMMIT}/{path}"
        self.refused("more than 5 redirects", code=9)
        for location in ("file:///etc/passwd", "ftp://127.0.0.1/x", "http://example.invalid/x", "gopher://127.0.0.1/"):
            self.hub.redirect = lambda path: location
            self.refused("a redirect to", code=9)

    def test_links_in_the_cache(self):
        outside = self.home / "ms"
        outside.mkdir()
        for part in (FOLDER, f"{FOLDER}/blobs", f"{FOLDER}/snapshots"):
            link = self.cache / part
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(outside)
            self.assertIn("found a link", self.pull(code=4))
            self.assertEqual(list(outside.iterdir()), [])
            link.unlink()
        self.pull()
        (outside / "config.json").write_text("{}")
        link = self.cache / FOLDER / "snapshots" / COMMIT / "config.json"
        link.unlink()
        link.symlink_to(outside / "config.json")
        self.assertIn("expected one inside", self.run_it("show", NAME, code=4))


class Kill(Case):
    def test_killed_fifty_times(self):
        source = random.Random(7)
        self.hub.chunk_pause_s = 0.01
        kills = wholes = 0
        longest = 0.4
        while kills < 50:
            process = self.start("pull", NAME)
            try:
                process.communicate(timeout=source.uniform(0.0, longest))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                self.assert_sound()
                continue
            self.assertEqual(process.returncode, 0)
            self.assert_whole()
            wholes += 1
            self.run_it("rm", NAME, "--yes")
        self.pull()
        self.assert_whole()
        print(f"{kills} kills, {wholes} pulls that ended before theirs", file=sys.stderr)

    def test_cut_by_the_hub(self):
        source = random.Random(3)
        self.hub.cut = lambda length: source.randrange(length) if length > 60_000 and self.hub.cuts < 60 else None
        self.hub.repositories[NAME] = files(shard_bytes=6_000_000)
        self.pull(retries=8)
        self.assert_whole()
        self.assertGreaterEqual(self.hub.cuts, 15)
        while self.hub.cuts < 60:
            self.run_it("rm", NAME, "--yes")
            self.pull(retries=8)
            self.assert_whole()

    def test_two_at_once(self):
        self.hub.chunk_pause_s = 0.01
        for _ in range(3):
            self.hub.requests.clear()
            both = [self.start("pull", NAME) for _ in range(2)]
            for process in both:
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, err)
            self.assert_whole()
            fetched = self.hub.files_fetched()
            self.assertEqual(len(fetched), len(set(fetched)))  # the second waits for the first, and fetches nothing
            self.run_it("rm", NAME, "--yes")

    def test_waits_for_other_tools(self):
        """huggingface_hub holds a lock for each file."""
        name = "model-00001-of-00003.safetensors"
        digest = sha256(files()[name])
        locks, blobs = self.cache / ".locks" / FOLDER, self.cache / FOLDER / "blobs"
        locks.mkdir(parents=True)
        blobs.mkdir(parents=True)
        with open(locks / f"{digest}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self.start("pull", NAME)
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.assertIn("another process", self.run_it("rm", NAME, "--yes", code=9))
            (blobs / digest).write_bytes(files()[name])
        self.assertEqual(process.wait(20), 0)
        process.communicate()
        self.assert_whole()
        self.assertFalse(any(name in path for path in self.hub.files_fetched()))


class Cache(Case):
    def write_snapshot(self, all_files, commit=COMMIT):
        """What another tool leaves."""
        model = self.cache / FOLDER
        for folder in ("blobs", "refs", f"snapshots/{commit}"):
            (model / folder).mkdir(parents=True, exist_ok=True)
        for path, data in all_files.items():
            (model / "blobs" / etag(path, data)).write_bytes(data)
            (model / "snapshots" / commit / path).symlink_to(f"../../blobs/{etag(path, data)}")
        (model / "refs" / "main").write_text(commit)

    def nano(self):
        return {path.name: path.read_bytes() for path in NANO.iterdir()}

    def test_what_another_tool_fetched(self):
        self.write_snapshot(self.nano())
        for name in (NAME, "qwen3:0.6b"):
            shown = json.loads(self.run_it("show", name, "--json"))
            self.assertEqual(shown["model_type"], "qwen3")
        answer = self.run_it("generate", "--model", NAME, "--prompt", "Hello", "--max-tokens", "8", "--no-think")
        self.assertTrue(answer.strip())
        self.run_it("tokenize", "--model", NAME, "--prompt", "x", HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.requests, [])

    def test_caches_by_all_variables(self):
        self.write_snapshot(self.nano())
        for variables in ({"HF_HOME": self.home}, {"HF_HUB_CACHE": "~/hub"},
                          {"XDG_CACHE_HOME": self.home / "xdg"}, {"HOME": self.home / "else"}):
            target = {"XDG_CACHE_HOME": self.home / "xdg/huggingface/hub",
                      "HOME": self.home / "else/.cache/huggingface/hub"}.get(next(iter(variables)))
            if target:
                target.parent.mkdir(parents=True)
                target.symlink_to(self.cache)
            self.run_it("show", NAME, **{"HF_HUB_CACHE": None, **{name: str(path) for name, path in variables.items()}})

    def test_not_there(self):
        self.assertIn("inkstone pull qwen3:0.6b", self.run_it("show", "qwen3:0.6b", code=3))
        self.assertIn("HF_HUB_OFFLINE", self.run_it("generate", "-m", NAME, "-p", "x", code=3, HF_HUB_OFFLINE="1"))
        for path in ("nothing", "hub/nothing", "./a/b", "/a/b", "a/b/c"):
            self.cache.mkdir(exist_ok=True)
            self.assertIn("no such folder\n", self.run_it("show", path, code=3))
        self.write_snapshot({"config.json": b"{}"})  # as a tool that wants the configuration alone
        self.run_it("show", NAME, code=3)
        self.assertEqual(self.hub.requests, [])

    def test_a_folder_wins(self):
        self.write_snapshot(self.nano())
        (self.home / "Qwen").mkdir()
        (self.home / NAME).symlink_to(NANO)
        self.assertEqual(json.loads(self.run_it("show", NAME, "--json"))["model"], NAME)

    def test_fetched_where_it_is_named(self):
        self.hub.repositories[NAME] = self.nano()
        code, screen = on_terminal(self, "generate", "--model", "qwen3:0.6b", "--prompt", "Hello", "--max-tokens", "4")
        self.assertEqual(code, 0, screen)
        self.assertIn("not on this machine", screen)
        self.assertIn("to fetch from", screen)
        count = len(self.hub.requests)
        self.run_it("generate", "--model", NAME, "--prompt", "Hello", "--max-tokens", "4")
        self.assertEqual(len(self.hub.requests), count)

    def test_list_and_rm(self):
        self.assertEqual(self.run_it("list"), "")
        self.assertEqual(json.loads(self.run_it("list", "--json")), {"models": []})
        self.pull()
        self.run_it("pull", NAME, "--hub", "modelscope")
        line = self.run_it("list").splitlines()[0]
        self.assertRegex(line, rf"^{NAME} +2\.3 MB  20\d\d-\d\d-\d\d \d\d:\d\d  main {COMMIT[:8]}$")
        models = json.loads(self.run_it("list", "--json"))["models"]
        self.assertEqual([(m["model"], m["hub"], m["complete"], m["refs"]) for m in models],
                         [(NAME, "huggingface", True, ["main"]), (NAME, "modelscope", True, [])])
        (self.cache / FOLDER / "snapshots" / COMMIT / "model-00002-of-00003.safetensors").unlink()
        self.assertIn("not whole", self.run_it("list"))
        aliases = json.loads(self.run_it("list", "--aliases", "--json"))
        self.assertEqual(aliases["qwen3:0.6b"], NAME)
        table = re.findall(r"^\| `(qwen3\S+)` \| (\S+) \|$", (ROOT / "docs/hub.md").read_text(), re.M)
        self.assertEqual(dict(table), {name: model for name, model in aliases.items() if not model.startswith("Qwen/")})
        self.assertIn("--yes", self.run_it("rm", NAME, code=2))
        self.assertEqual(on_terminal(self, "rm", NAME, keys="n\n")[0], 0)
        self.assertTrue((self.cache / FOLDER).exists())
        self.assertEqual(on_terminal(self, "rm", "qwen3:0.6b", keys="y\n")[0], 0)
        self.assertFalse((self.cache / FOLDER).exists())
        self.run_it("rm", NAME, "--yes", code=3)
        self.run_it("rm", NAME, "--yes", "--hub", "modelscope")
        self.assertEqual(json.loads(self.run_it("list", "--json")), {"models": []})

    def test_rm_follows_no_links(self):
        self.pull()
        outside = self.home / "ms"
        outside.mkdir()
        (outside / "precious").write_text("x")
        (self.cache / FOLDER / "blobs" / "link").symlink_to(outside)
        (self.cache / FOLDER / "snapshots" / "link").symlink_to(outside / "precious")
        self.run_it("rm", NAME, "--yes")
        self.assertFalse((self.cache / FOLDER).exists())
        self.assertTrue((outside / "precious").exists())
        (self.cache / FOLDER).symlink_to(outside)
        self.run_it("rm", NAME, "--yes", code=4)
        self.assertTrue((outside / "precious").exists())

    def test_modelscope(self):
        root = self.home / "ms/models/Qwen/Qwen3-0___6B-MLX-4bit"
        self.hub.token = "ms-secret"
        out = self.run_it("pull", NAME, MODELSCOPE_API_TOKEN="ms-secret", INKSTONE_HUB="modelscope")
        self.assertEqual(out.strip(), str(root))
        self.hub.token = None
        self.assertEqual({path.name: path.read_bytes() for path in root.iterdir()}, wanted(files()))
        self.assertFalse((self.home / "ms/models/._____temp/Qwen/Qwen3-0.6B-MLX-4bit").exists())
        fetched = len(self.hub.files_fetched())
        (root / "model-00003-of-00003.safetensors").write_bytes(b"damaged")
        (root / "tokenizer_config.json").write_bytes(b"[]")  # of the right length
        self.run_it("pull", NAME, "--hub", "modelscope")
        self.assertEqual(len(self.hub.files_fetched()), fetched + 2)
        self.assertEqual({path.name: path.read_bytes() for path in root.iterdir()}, wanted(files()))
        self.hub.repositories[NAME] = {**files(), "../x.json": b"1"}
        self.assertIn("expected a path", self.run_it("pull", NAME, "--hub", "modelscope", code=4))
        self.run_it("pull", "Qwen/Nothing", "--hub", "modelscope", code=3)

    def test_modelscope_model_runs(self):
        old = self.home / "ms/Qwen/Qwen3-0.6B-MLX-4bit"  # where older versions put them
        old.mkdir(parents=True)
        for path, data in self.nano().items():
            (old / path).write_bytes(data)
        self.assertEqual(json.loads(self.run_it("show", NAME, "--json"))["model_type"], "qwen3")


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


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
