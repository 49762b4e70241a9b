#!/usr/bin/env python3
"""Hubs that lie, caches of other tools, named models, list and rm: hub_cache_test.py BINARY [TEST...]."""
import json
import pathlib
import re
import shutil

from fake_hub import COMMIT, etag
from hub_case import FOLDER, NAME, NANO, ROOT, Case, files, main, on_terminal, wanted


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
            self.assertIn("no such folder or file", self.run_it("show", path, code=3))
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

    def test_modelscope_revisions_do_not_mix(self):
        self.run_it("pull", NAME, "--hub", "modelscope")
        folder = pathlib.Path(self.run_it("pull", NAME, "--hub", "modelscope").strip())
        gone = [path for path in wanted(files()) if path.endswith(".safetensors")][0]
        kept = {path: data for path, data in files().items() if path != gone}
        self.hub.repositories[NAME] = {**kept, "other.safetensors": b"new weights"}
        self.run_it("pull", NAME, "--hub", "modelscope")
        self.assertFalse((folder / gone).exists())
        self.assertEqual((folder / "other.safetensors").read_bytes(), b"new weights")
        self.assertTrue((folder / "config.json").is_file())

    def test_modelscope_model_runs(self):
        old = self.home / "ms/Qwen/Qwen3-0.6B-MLX-4bit"  # where older versions put them
        old.mkdir(parents=True)
        for path, data in self.nano().items():
            (old / path).write_bytes(data)
        self.assertEqual(json.loads(self.run_it("show", NAME, "--json"))["model_type"], "qwen3")


if __name__ == "__main__":
    main()
