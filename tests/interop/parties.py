"""The programs that take part, all driven in the same way: `seed` or `leech` starts one, `wait_seeding`
and `wait_complete` wait for what they say, `meet` makes one dial another, `stop` ends one in peace."""

import base64
import json
import os
import re
import signal
import sys
import urllib.request

from place import LIMIT, Failed, until

HERE = os.path.dirname(os.path.abspath(__file__))


class Party:
    """A program with an address. `endpoint` is where it listens."""

    kind = ""
    makes_empty_files = True

    def __init__(self, place, name=None, version=4, address=None):
        self.place = place
        self.name = name or self.kind
        self.address = address or place.address(version)
        self.port = place.port()
        self.process = None

    @property
    def endpoint(self):
        return self.address, self.port

    def check(self):
        """Fails if the program has ended."""
        code = self.process.process.poll()
        if code is not None:
            raise Failed(f"{self.name} has ended (exit {code})")


def spelled(endpoint):
    ip, port = endpoint
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class Dunlin(Party):
    """One `dunlin get` or `dunlin seed` for one torrent."""

    kind = "dunlin"

    def seed(self, torrent, folder, peers=(), options=()):
        self.run("seed", torrent, ["--data", folder], peers, options)
        self.is_one_shot = False

    def leech(self, torrent, folder, peers=(), options=()):
        """`torrent` may be a magnet link. With `--seed` among the options it goes on."""
        self.run("get", torrent, ["-o", folder], peers, options)
        self.is_one_shot = "--seed" not in options

    def run(self, command, torrent, where, peers, options):
        argv = [self.place.dunlin, command, torrent, *where, "--json"]
        argv += ["--bind", self.address, "--port", self.port]
        for peer in peers:
            argv += ["--peer", spelled(peer)]
        self.process = self.place.start(self.name, [*argv, *options])
        # It answers from here on.
        self.process.expect(lambda _, text: text.startswith("listening at "), "it listens")

    def meet(self, endpoint):
        raise Failed("dunlin is told of peers when it starts")

    def wait_seeding(self, limit=LIMIT):
        self.process.expect(
            lambda stream, text: stream == "err" and text.endswith(": seeding"), "it seeds", limit
        )

    def wait_complete(self, limit=LIMIT):
        """Of a `get` that does not seed this is its end."""
        if not self.is_one_shot:
            self.wait_seeding(limit)
            return
        code = self.process.wait(limit)
        if code != 0:
            raise Failed(f"{self.name}: exit {code}, expected 0")
        report = self.report()
        if not report["ok"] or not all(torrent["complete"] for torrent in report["torrents"]):
            raise Failed(f"{self.name}: its report does not say that it is complete: {report}")

    def report(self):
        return json.loads(self.process.said("out"))

    def stop(self, expected=0):
        if self.process.process.poll() is None:
            code = self.process.end(signal.SIGINT)
            if code != expected:
                raise Failed(f"{self.name}: exit {code} after Ctrl-C, expected {expected}")


class Libtorrent(Party):
    """A session of libtorrent 2.0 behind its Python binding."""

    kind = "libtorrent"

    def __init__(self, place, name=None, version=4, settings=None):
        super().__init__(place, name, version)
        argv = [sys.executable, os.path.join(HERE, "libtorrent_driver.py"), self.address, self.port]
        self.process = place.start(self.name, [*argv, json.dumps(settings or {})])
        self.read = 0
        self.event("ready")

    def event(self, kind, limit=LIMIT, **wanted):
        """The next event of a kind with these fields. What came before it is skipped."""

        def look(stream, text):
            if stream != "out":
                return None
            event = json.loads(text)
            if event["event"] == "error":
                raise Failed(f"{self.name}: {event['message']}")
            fits = event["event"] == kind and all(event[name] == value for name, value in wanted.items())
            return event if fits else None

        event, self.read = self.process.expect(look, f"it says `{kind}`", limit, self.read)
        return event

    def events(self, kind):
        """All of a kind until now."""
        all_ = (json.loads(line) for line in self.process.said("out").splitlines())
        return [event for event in all_ if event["event"] == kind]

    def do(self, what, n=0, **fields):
        self.process.send(json.dumps({"do": what, "n": n, **fields}) + "\n")

    def add(self, torrent, folder, peers):
        what = "magnet" if torrent.startswith("magnet:") else "torrent"
        self.do("add", **{what: torrent, "dir": folder, "peers": [list(peer) for peer in peers]})
        self.event("added")

    seed = leech = add

    def meet(self, endpoint):
        self.do("peer", peer=list(endpoint))

    def status(self):
        self.do("status")
        return self.event("status")

    def wait_complete(self, limit=LIMIT):
        self.event("finished", limit)

    wait_seeding = wait_complete

    def stop(self):
        # It says `stopped` to its trackers and ends with its input.
        self.process.process.stdin.close()
        self.process.wait()


class Transmission(Party):
    """transmission-daemon 3.00 and its RPC."""

    kind = "transmission"
    # Unless a piece begins in them.
    makes_empty_files = False

    def __init__(self, place, name=None, encryption="tolerated"):
        super().__init__(place, name)
        config, downloads = place.sub(f"{self.name}-config"), place.sub(f"{self.name}-downloads")
        self.rpc, self.session, self.torrent = place.port(), "", None
        settings = {"cache-size-mb": 4, "pex-enabled": False, "rpc-host-whitelist-enabled": False}
        with open(os.path.join(config, "settings.json"), "w") as file:
            json.dump(settings, file)
        flags = {"tolerated": "-et", "preferred": "-ep", "required": "-er"}
        argv = ["transmission-daemon", "-f", "-g", config, "-w", downloads, "-p", self.rpc, "-P", self.port]
        argv += ["-i", self.address, "-r", "127.0.0.1", "-a", "127.0.0.1", "-O", "-Y", "-M", "--no-utp", "-T"]
        # Its files and caches stay in the folder of the case.
        environment = {"HOME": config, "TRANSMISSION_HOME": config}
        self.process = place.start(self.name, [*argv, flags[encryption]], environment=environment)
        until(self.answers, f"{self.name} to answer")

    def answers(self):
        self.check()
        try:
            return self.call("session-get")
        except OSError:
            return None

    def call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(f"http://127.0.0.1:{self.rpc}/transmission/rpc", body)
            request.add_header("X-Transmission-Session-Id", self.session)
            try:
                with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                    said = json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.session = error.headers["X-Transmission-Session-Id"]
                continue
            if said["result"] != "success":
                raise Failed(f"{self.name}: {method}: {said['result']}")
            return said["arguments"]
        raise Failed(f"{self.name} takes no session id")

    def add(self, torrent, folder, peers):
        if peers:
            raise Failed("transmission knows no peers but those of trackers, and those that dial it")
        self.folder = folder
        arguments = {"download-dir": folder, "paused": False}
        if torrent.startswith("magnet:"):
            arguments["filename"] = torrent
        else:
            with open(torrent, "rb") as file:
                arguments["metainfo"] = base64.b64encode(file.read()).decode()
        self.torrent = self.call("torrent-add", **arguments)["torrent-added"]["id"]

    seed = leech = add

    def get(self, *fields):
        return self.call("torrent-get", ids=[self.torrent], fields=list(fields))["torrents"][0]

    def is_complete(self):
        self.check()
        now = self.get("leftUntilDone", "status", "metadataPercentComplete", "errorString", "error")
        if now["error"] == 3:  # its own, not a tracker's
            raise Failed(f"{self.name}: {now['errorString']}")
        # 6: seeding, so nothing is to be checked any more either.
        return now["metadataPercentComplete"] == 1 and now["leftUntilDone"] == 0 and now["status"] == 6

    def wait_complete(self, limit=LIMIT):
        until(self.is_complete, f"{self.name} to be complete", limit)

    wait_seeding = wait_complete

    def stop(self):
        """Its torrent, not the program: a session that closes says nothing to trackers over HTTP. What was
        in its cache is in the files then."""
        if self.torrent is not None and self.process.process.poll() is None:
            self.call("torrent-stop", ids=[self.torrent])
            until(lambda: self.check() or self.get("status")["status"] == 0, f"{self.name} to stop")


class DunlinTracker(Party):
    """`dunlin tracker` over HTTP and UDP on one port number."""

    kind = "dunlin tracker"

    def __init__(self, place, options=(), version=4):
        super().__init__(place, version=version)
        at = spelled(self.endpoint)
        argv = [place.dunlin, "tracker", "--http", at, "--udp", at, "--json", *options]
        self.process = place.start(self.name, argv)
        self.process.expect(lambda stream, _: stream == "out", "it listens")

    def allow(self, hashes):
        pass

    def urls(self, scheme):
        return f"{scheme}://{spelled(self.endpoint)}/announce"

    def scrape(self, info_hash):
        """(seeds, leechers, times completed) of a torrent, over HTTP."""
        escaped = "".join(f"%{byte:02x}" for byte in info_hash)
        url = f"http://{spelled(self.endpoint)}/scrape?info_hash={escaped}"
        with urllib.request.urlopen(url, timeout=LIMIT) as answer:
            body = answer.read()
        numbers = {}
        for key in (b"complete", b"downloaded", b"incomplete"):
            found = re.search(rb"%d:%si(\d+)e" % (len(key), key), body)
            numbers[key] = int(found[1]) if found else 0
        return numbers[b"complete"], numbers[b"incomplete"], numbers[b"downloaded"]

    def announce(self, info_hash, port):
        """As a leecher of our own making."""
        escaped = "".join(f"%{byte:02x}" for byte in info_hash)
        query = f"info_hash={escaped}&peer_id=-XX0000-by-the-tests&port={port}&left=1&uploaded=0&downloaded=0"
        with urllib.request.urlopen(f"{self.urls('http')}?{query}", timeout=LIMIT) as answer:
            answer.read()

    def wait_for(self, info_hash, seeds, leechers, meanwhile=lambda: None):
        def look():
            self.check()
            meanwhile()
            return self.scrape(info_hash)[:2] == (seeds, leechers)

        try:
            until(look, "")
        except Failed:
            found = self.scrape(info_hash)
            wanted = f"({seeds}, {leechers}, …)"
            raise Failed(f"{self.name} has (seeds, leechers, completed) {found}, not {wanted}") from None

    def stop(self):
        code = self.process.end(signal.SIGINT)
        if code != 0:
            raise Failed(f"{self.name}: exit {code} after Ctrl-C, expected 0")


class Opentracker(DunlinTracker):
    """opentracker as the package builds it: it serves the torrents of a list, and starts as root only to
    leave what that gives."""

    kind = "opentracker"

    def __init__(self, place):
        Party.__init__(self, place)

    def allow(self, hashes):
        """Starts it."""
        root = self.place.sub("opentracker")
        # It looks at its list as nobody, in its own root.
        folder = root
        while folder != "/" and folder.startswith("/tmp"):
            os.chmod(folder, os.stat(folder).st_mode | 0o011)
            folder = os.path.dirname(folder)
        with open(os.path.join(root, "allowed.txt"), "w") as file:
            file.writelines(f"{info_hash.hex()}\n" for info_hash in hashes)
        os.chmod(root, 0o755)
        argv = ["opentracker", "-i", self.address, "-p", self.port, "-P", self.port, "-d", root]
        self.process = self.place.start(self.name, [*argv, "-w", "/allowed.txt", "-u", "nobody"])
        until(self.answers, "opentracker to answer")

    def answers(self):
        self.check()
        try:
            self.scrape(bytes(20))
        except OSError as error:
            # It knows no such torrent, and says so.
            return isinstance(error, urllib.error.HTTPError)
        return True

    def stop(self):
        self.process.kill()


PARTIES = {party.kind: party for party in (Dunlin, Libtorrent, Transmission)}
