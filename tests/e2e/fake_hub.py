"""A hub on loopback that the tests serve: Hugging Face's and ModelScope's API for repositories that are dictionaries.

It keeps a record of all requests, and misbehaves where a test asks for it. All names here are public to the tests.
"""
import hashlib
import http.server
import json
import random
import socket
import ssl
import struct
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK = 1 << 16


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(path):
    return path.endswith(".safetensors") or path == "tokenizer.json"


def etag(path, data):
    return sha256(data) if is_lfs(path) else git_blob(data)


class Hub:
    """Started by `with`; `url` is its endpoint."""

    def __init__(self, files=None, name="Qwen/Qwen3-0.6B-MLX-4bit", tls=None):
        self.repositories = {name: dict(files or {})}
        self.commit = COMMIT
        self.requests = []         # (method, path with query, headers)
        self.token = None          # demanded of every request but those for /cdn/
        self.listing = None        # the answer to a listing instead of the true one: bytes, or what json.dumps takes
        self.edit = None           # changes the true listing
        self.cdn = None            # another hub, to which files are redirected
        self.redirect = None       # path -> location, or nothing
        self.errors = []           # (status, headers) of the next requests for files
        self.listing_errors = []
        self.ranges = True         # knows Range
        self.range_status = 206
        self.chunk_pause_s = 0.0
        self.cut = None            # length -> bytes after which the connection breaks, or None
        self.cuts = 0
        self.body = None           # (path, data) -> what is sent instead
        self.length = None         # (path, length) -> what Content-Length says
        self.random = random.Random(1)
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                try:
                    hub.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def files_fetched(self):
        return [path for _, path, _ in self.requests if "/resolve/" in path or "FilePath=" in path or "/cdn/" in path]

    # The answers.

    def answer(self, request):
        self.requests.append((request.command, request.path, dict(request.headers)))
        url = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(url.query)
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        if parts[0] == "cdn":
            return self.send_file(request, parts[-1], self.blob(parts[1]))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.send(request, 401, b"no", {"X-Error-Message": "Invalid username or password."})
        if parts[:2] == ["api", "models"]:
            return self.send_listing(request, "/".join(parts[2:4]), self.huggingface_listing)
        if parts[:3] == ["api", "v1", "models"] and parts[5:] == ["repo", "files"]:
            return self.send_listing(request, "/".join(parts[3:5]), self.modelscope_listing)
        if parts[:3] == ["api", "v1", "models"]:
            name, path = "/".join(parts[3:5]), query["FilePath"][0]
        else:
            name, path = "/".join(parts[:2]), "/".join(parts[4:])
        data = self.repositories.get(name, {}).get(path)
        if self.errors:
            return self.send(request, *self.errors.pop(0))
        if data is None:
            return self.send(request, 404, b"no such file", {"X-Error-Message": "Entry not found"})
        location = self.redirect(path) if self.redirect else None
        if location is None and self.cdn:
            self.cdn.repositories.setdefault("cdn", {})[path] = data
            location = f"{self.cdn.url}/cdn/{etag(path, data)}/{path}"
        if location:
            return self.send(request, 302, b"over there", {
                "Location": location, "X-Repo-Commit": self.commit, "X-Linked-Etag": f'"{etag(path, data)}"',
                "X-Linked-Size": str(len(data))})
        self.send_file(request, path, data)

    def blob(self, digest):
        return next(data for files in self.repositories.values() for path, data in files.items()
                    if etag(path, data) == digest)

    def send_listing(self, request, name, build):
        if self.listing_errors:
            return self.send(request, *self.listing_errors.pop(0))
        if name not in self.repositories:
            return self.send(request, 404, b"{}", {"X-Error-Message": "Repository not found"})
        listing = build(self.repositories[name]) if self.listing is None else self.listing
        if self.edit:
            self.edit(listing)
        self.send(request, 200, listing if isinstance(listing, bytes) else json.dumps(listing).encode(), {})

    def huggingface_listing(self, files):
        siblings = []
        for path, data in files.items():
            entry = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
            if is_lfs(path):
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return {"sha": self.commit, "siblings": siblings}

    def modelscope_listing(self, files):
        return {"Code": 200, "Data": {"Files": [{"Path": "folder", "Type": "tree", "Size": 0}] + [
            {"Path": path, "Type": "blob", "Size": len(data), "Sha256": sha256(data)} for path, data in files.items()]}}

    def send_file(self, request, path, data):
        if self.body:
            data = self.body(path, data)
        status, headers, start = 200, {"ETag": f'"{etag(path, data)}"'}, 0
        asked = request.headers.get("Range", "")
        if asked and self.ranges:
            start = int(asked.partition("=")[2].partition("-")[0])
            if start >= len(data):
                return self.send(request, 416, b"", {})
            status = self.range_status
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        rest = data[start:]
        self.send(request, status, rest, headers, self.length(path, len(rest)) if self.length else None)

    def send(self, request, status, body, headers, length=None):
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        cut = self.cut(len(body)) if self.cut and status in (200, 206) else None
        sent = 0
        while sent < len(body):
            end = min(sent + CHUNK, len(body) if cut is None else cut)
            request.wfile.write(body[sent:end])
            if self.chunk_pause_s:
                time.sleep(self.chunk_pause_s)
            if end == cut:
                break
            sent = end
        if cut is not None or length is not None:
            self.cuts += cut is not None
            request.wfile.flush()
            # At times an orderly end, at times a reset.
            if self.random.random() < 0.5:
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close_connection = True
