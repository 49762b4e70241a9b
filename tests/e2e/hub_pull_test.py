#!/usr/bin/env python3
"""Pulls from a hub on loopback, killed, cut and two at once: hub_pull_test.py BINARY [TEST...]."""
import fcntl
import json
import random
import signal
import subprocess
import sys
import time

from fake_hub import COMMIT, Hub, sha256
from hub_case import BINARY, FOLDER, NAME, Case, files, main, on_terminal, wanted


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
        self.assertIn("expected " + "f" * 40, self.pull("--revision", "f" * 40, code=4))
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


if __name__ == "__main__":
    main()
