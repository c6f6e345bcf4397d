#!/usr/bin/env python3
"""Pictures in buckets: the tables of the folder, by servers of S3 (moto) and Azure (azurite) on the loopback.

    pip install 'moto[server]' boto3;  npm install --prefix /tmp/azurite azurite
    python tests/python/buckets.py target/release/featurize --azurite /tmp/azurite/node_modules/.bin/azurite-blob

It kills a run (`kill -9`) and a server, starts them again, and compares all tables with those of an undisturbed run.
`--rate N` measures N pictures from the folder, from S3 and by URLs: pictures a second, milliseconds of processor of the
program itself for a picture, and its memory. moto takes some 6 ms of processor for each object, where the program takes
10 for a picture of EfficientNet-Lite0, so S3 is also measured with a small server of this file, which answers the same
requests from memory.
"""

import argparse
import functools
import hashlib
import http.client
import http.server
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FRUITS = PROJECT / "data/fruits"
CLASSES = ["Banana", "Lemon", "Strawberry"]
YAML = """version: 1
name: buckets
input:
  root: {root}
  split: {{train: 'Training/**', test: 'Test/**'}}
extract: {{shard_rows: 8}}
select: {{}}
reduce: {{pca: {{components: 6}}}}
train: {{mlp: {{hidden: [16], max_iter: 60, seed: 1}}}}
output: {{cache: none}}
"""
AZURE = {
    "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
    # the key that azurite has for everybody
    "AZURE_STORAGE_ACCOUNT_KEY": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KB"
    "HBeksoGMGw==",
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(3000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


class Program:
    """The program under test in a folder of its own."""

    def __init__(self, path, folder):
        self.path, self.folder = path, Path(folder)

    def start(self, root, out, environment=(), more=()):
        yaml = self.folder / f"{out}.yaml"
        yaml.write_text(YAML.format(root=json.dumps(str(root))))
        command = [self.path, "run", yaml, "--out", self.folder / out, "--log", "json", *more]
        return subprocess.Popen(command, env={**os.environ, **dict(environment)}, stderr=subprocess.PIPE, text=True)

    def run(self, root, out, environment=(), more=(), code=0):
        process = self.start(root, out, environment, more)
        text = process.communicate()[1]
        if process.returncode != code:
            sys.exit(f"{out}: exit {process.returncode}\n{text}")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def shards(self, out):
        """The feature tables by name."""
        return {path.name: path.read_bytes() for path in (self.folder / out / "features").iterdir()}

    def results(self, out):
        names = ["features", "classifier", "reduced.parquet", "predictions.parquet", "metrics.json"]
        files = [path for name in names for path in [self.folder / out / name, *(self.folder / out / name).glob("*")]]
        return {str(path.relative_to(self.folder / out)): path.read_bytes() for path in files if path.is_file()}


def files(count):
    """The first pictures of each class, by their paths."""
    found = {}
    for split, many in [("Training", count), ("Test", 4)]:
        for label in CLASSES:
            for path in sorted((FRUITS / split / label).iterdir())[:many]:
                found[f"{split}/{label}/{path.name}"] = path.read_bytes()
    return found


def write(folder, pictures):
    for name, data in pictures.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Moto:
    """S3, in a process of its own."""

    def __init__(self, pictures):
        self.port, self.pictures = free_port(), pictures
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "us-east-1",
        }
        self.start()

    def start(self):
        command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)
        self.client().create_bucket(Bucket="bucket")
        for name, data in {"": b"", "Training/": b"", **self.pictures}.items():
            self.put(name, data)

    def put(self, name, data):
        self.client().put_object(Bucket="bucket", Key=f"photos/{name}", Body=data)

    @functools.cache
    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )

    def stop(self):
        self.process.kill()
        self.process.wait()


class Small(http.server.ThreadingHTTPServer):
    """A bucket in memory: lists by pages of 1,000 keys, and objects."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, pictures):
        objects = {f"photos/{name}": (data, hashlib.md5(data).hexdigest()) for name, data in pictures.items()}
        keys = sorted(objects)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path, _, query = self.path.partition("?")
                key = urllib.parse.unquote(path.removeprefix("/bucket").removeprefix("/"))
                if key:
                    body, etag = objects[key]
                else:
                    body, etag = listed(dict(urllib.parse.parse_qsl(query))), "list"
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: \"{etag}\"\r\n"
                self.wfile.write(head.encode() + b"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n" + body)

            def log_message(self, *_):
                pass

        def listed(query):
            first = int(query.get("continuation-token", 0))
            date = "2024-01-01T00:00:00.000Z"
            page = "".join(
                f"<Contents><Key>{key}</Key><LastModified>{date}</LastModified><ETag>{objects[key][1]}</ETag>"
                f"<Size>{len(objects[key][0])}</Size></Contents>"
                for key in keys[first : first + 1000]
            )
            if first + 1000 < len(keys):
                page += f"<NextContinuationToken>{first + 1000}</NextContinuationToken>"
            return f"<ListBucketResult>{page}</ListBucketResult>".encode()

        super().__init__(("127.0.0.1", 0), Handler)


class Proxy(http.server.ThreadingHTTPServer):
    """Stands before a server, counts the requests that are under way, and refuses some objects."""

    refused = {"forbidden.jpg": 403, "gone.jpg": 404}
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port):
        self.lock, self.now, self.most = threading.Lock(), 0, 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with proxy.lock:
                    proxy.now += 1
                    proxy.most = max(proxy.most, proxy.now)
                time.sleep(0.1)
                code, body, headers = self.answer()
                # before the answer goes: the next request comes upon it
                with proxy.lock:
                    proxy.now -= 1
                self.send_response(code)
                for name in ["ETag", "Last-Modified", "Content-Type"]:
                    if name in headers:
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def answer(self):
                code = next((code for name, code in proxy.refused.items() if self.path.endswith(name)), None)
                if code:
                    return code, b"<Error><Message>no</Message></Error>", {}
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", self.path, headers=dict(self.headers))
                answer = connection.getresponse()
                return answer.status, answer.read(), answer.headers

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def check(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")
    print(f"ok: {text}")


def computed(events):
    """How many pictures went through the network."""
    return sum(event["seconds"]["pictures"] for event in events if event.get("event") == "extract_timing")


def s3(program, pictures, wanted):
    server = Moto(pictures)
    try:
        program.run("s3://bucket/photos", "s3", server.environment)
        check(program.results("s3") == wanted, "S3 gives the tables of the folder")
        check(
            not computed(program.run("s3://bucket/photos", "s3", server.environment)), "a second start computes nothing"
        )
        # killed in the middle
        process = program.start("s3://bucket/photos", "killed", server.environment, ["--set", "runtime.threads=1"])
        while len(list((program.folder / "killed/features").glob("part-*"))) < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        rest = computed(program.run("s3://bucket/photos", "killed", server.environment))
        check(0 < rest < len(pictures), f"after kill -9 {rest} of {len(pictures)} pictures are computed")
        check(program.results("killed") == wanted, "and the tables are those of an undisturbed run")
        # the service is gone in the middle
        slowly = ["--set", "runtime.threads=1", "--set", "runtime.requests=1"]
        process = program.start("s3://bucket/photos", "down", server.environment, slowly)
        while len(list((program.folder / "down/features").glob("part-*"))) < 2:
            time.sleep(0.01)
        server.stop()
        text = process.communicate()[1]
        check(process.returncode == 1 and "cannot be reached" in text, "a service that is down is an error")
        server.start()
        program.run("s3://bucket/photos", "down", server.environment)
        check(program.results("down") == wanted, "which a new start goes on from")
        program.run("s3://nowhere/photos", "nowhere", server.environment, code=2)
        changes(program, pictures, server)
        refusals(program, pictures, server)
    finally:
        server.stop()


def changes(program, pictures, server):
    """An object that is written again costs nothing with the same contents, and its shard with others."""
    names = sorted(pictures)
    before = program.shards("s3")
    server.put(names[5], pictures[names[5]])
    check(not computed(program.run("s3://bucket/photos", "s3", server.environment)), "the same contents cost nothing")
    server.put(names[5], pictures[names[0]])
    rest = computed(program.run("s3://bucket/photos", "s3", server.environment))
    after = program.shards("s3")
    others = [name for name in before if after.get(name) != before[name]]
    check(len(others) == 1 and 1 <= rest <= 8, f"an object with another etag: {rest} pictures of {len(others)} table")
    server.put(names[5], pictures[names[5]])


def refusals(program, pictures, server):
    """Objects that cannot be had are rows with their kinds, and requests are under way as many as asked for."""
    import pyarrow.parquet

    some = next(iter(pictures.values()))
    for name in [*Proxy.refused, "/no-path.jpg"]:
        server.put(f"Training/Lemon/{name}", some)
    proxy = Proxy(server.port)
    environment = {**server.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}"}
    for requests in [4, 32]:
        proxy.most = 0
        out = f"refused-{requests}"
        sets = [f"runtime.requests={requests}", "input.max_bad_fraction=0.5", "extract.shard_rows=1024"]
        more = ["--until", "extract", *[word for one in sets for word in ["--set", one]]]
        program.run("s3://bucket/photos", out, environment, more)
        rows = pyarrow.parquet.read_table(program.folder / out / "manifest.parquet").to_pylist()
        kinds = {Path(row["path"]).name: row["kind"] for row in rows if row["status"] == "failed"}
        expected = {"forbidden.jpg": "forbidden", "gone.jpg": "missing", "no-path.jpg": "unreadable"}
        check(kinds == expected, f"refused objects are rows: {kinds}")
        check(proxy.most == min(requests, len(pictures) + 2), f"{proxy.most} requests are under way")
    proxy.shutdown()


def azure(program, pictures, wanted, azurite):
    import base64
    import hmac
    from email.utils import formatdate

    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        command = [azurite, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", data]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(port)

            def put(path, body, query=""):
                account = AZURE["AZURE_STORAGE_ACCOUNT_NAME"]
                headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
                if not query:
                    headers["x-ms-blob-type"] = "BlockBlob"
                named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
                kind, length = "application/octet-stream", str(len(body)) if body else ""
                words = "".join(f"\n{word.replace('=', ':')}" for word in query.split("&") if word)
                text = f"PUT\n\n\n{length}\n\n{kind}\n\n\n\n\n\n\n{named}/{account}/{account}{path}{words}"
                key = base64.b64decode(AZURE["AZURE_STORAGE_ACCOUNT_KEY"])
                signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
                headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Type": kind}
                url = f"http://127.0.0.1:{port}/{account}{path}" + (f"?{query}" if query else "")
                urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT")).close()

            put("/photos", b"", "restype=container")
            for name, data in pictures.items():
                put(f"/photos/below/{name}", data)
            endpoint = f"http://127.0.0.1:{port}/{AZURE['AZURE_STORAGE_ACCOUNT_NAME']}"
            environment = {**AZURE, "AZURE_STORAGE_ENDPOINT": endpoint, "AZURE_ALLOW_HTTP": "true"}
            program.run("az://photos/below", "azure", environment)
            check(program.results("azure") == wanted, "Azure gives the tables of the folder")
        finally:
            process.kill()
            process.wait()


def served(server):
    """Lets a server answer in a process of its own; gives the process and the address."""
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    return process, f"http://127.0.0.1:{server.server_port}"


def rates(program, pictures, count):
    """Pictures a second, milliseconds of processor a picture and most memory of the program, from each source."""
    names = list(pictures)
    many = {f"Training/{CLASSES[i % 3]}/{i:06}.png": pictures[names[i % len(names)]] for i in range(count)}
    folder = program.folder / "many"
    write(folder, many)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=folder)
    plain, plain_url = served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
    small, small_url = served(Small(many))
    server = Moto(many)
    table = program.folder / "urls.csv"
    table.write_text("url,label\n" + "".join(f"{plain_url}/{name},{name.split('/')[1]}\n" for name in many))
    sources = {
        "folder": (folder, {}),
        "s3": ("s3://bucket/photos", {**server.environment, "AWS_ENDPOINT_URL": small_url}),
        "s3 of moto": ("s3://bucket/photos", server.environment),
        "urls": (table, {}),
    }
    sets = ["input.split={fraction: 0.2}", "extract.shard_rows=1024"]
    more = ["--until", "extract", *[word for one in sets for word in ["--set", one]]]
    found = {name: [] for name in sources}
    try:
        for turn in range(6):
            for name, (root, environment) in sources.items():
                out = f"{name.replace(' ', '-')}-{turn}"
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                events = program.run(root, out, environment, more)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                timing = next(event["seconds"] for event in events if event.get("event") == "extract_timing")
                check(timing["pictures"] == count, f"{out}: {count} pictures were computed")
                rate = count / (timing["wall"] - timing["load"])
                spent = sum(getattr(after, kind) - getattr(before, kind) for kind in ["ru_utime", "ru_stime"])
                memory = json.loads((program.folder / out / "run.json").read_text())["peak_memory_mb"]
                found[name].append((rate, 1000 * spent / count))
                print(f"{out}: {rate:.0f} pictures/s, {1000 * spent / count:.2f} ms of processor, {memory:.0f} MB")
    finally:
        server.stop()
        plain.terminate()
        small.terminate()
    whole = [sorted(values)[len(values) // 2] for values in zip(*found["folder"])]
    for name, turns in found.items():
        rate, spent = [sorted(values)[len(values) // 2] for values in zip(*turns)]
        print(
            f"{name}: median {rate:.0f} pictures/s, {rate / whole[0]:.2f} of the folder's; {spent:.2f} ms of processor "
            f"a picture, so {whole[1] / spent:.2f} of the folder's with a server elsewhere"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--azurite", help="the program azurite-blob")
    parser.add_argument("--rate", type=int, default=0, metavar="N", help="also measure the rate of N pictures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program, pictures = Program(arguments.program.resolve(), folder), files(12)
        write(Path(folder) / "pictures", pictures)
        program.run(Path(folder) / "pictures", "folder")
        wanted = program.results("folder")
        s3(program, pictures, wanted)
        if arguments.azurite:
            azure(program, pictures, wanted, arguments.azurite)
        if arguments.rate:
            rates(program, pictures, arguments.rate)


if __name__ == "__main__":
    main()
