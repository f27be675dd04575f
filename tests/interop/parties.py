"""The programs that take part, all driven in the same way: `seed` or `leech` starts one, `wait_seeding`
and `wait_complete` wait for what they say, `meet` makes one dial another, `stop` ends one in peace."""

import base64
import json
import os
import re
import signal
import socket
import sys
import tempfile
import urllib.request
import xmlrpc.client

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
        # With -v it names peers that it hangs up on, and the case fails.
        argv = [self.place.dunlin, command, torrent, *where, "--json", "-v"]
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
        self.read = self.finished = 0
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

    def announce(self):
        """Tells its trackers now that it is here."""
        self.do("announce")

    def status(self):
        self.do("status")
        return self.event("status")

    def wait_complete(self, limit=LIMIT):
        """Once: it may have said so before, and something else was read since."""
        self.read, read = self.finished, self.read
        self.event("finished", limit)
        self.finished, self.read = self.read, max(self.read, read)

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
    # Whether a peer is a seed as soon as it says so.
    believes_at_once = False

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

    def wait_for_peers(self, info_hash, peers):
        """Until so many are there. A seed that has just come counts as a leecher until it has said a
        second time that nothing is missing: it might be a magnet link."""

        def look():
            self.check()
            return sum(self.scrape(info_hash)[:2]) == peers

        until(look, f"{self.name} to have {peers} peers")

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
    believes_at_once = True

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


class Aria2(Party):
    """aria2c 1.36 and its RPC. It knows no peers but those of trackers, and those that dial it."""

    kind = "aria2"

    def __init__(self, place, name=None, version=4, options=()):
        super().__init__(place, name, version)
        self.rpc = place.port()
        argv = ["aria2c", "--no-conf", "--enable-rpc", f"--rpc-listen-port={self.rpc}"]
        argv += [f"--listen-port={self.port}", f"--interface={self.address}", "--disable-ipv6=true"]
        # It asks trackers over UDP from the socket of its DHT, which knows nobody.
        dht = os.path.join(place.sub(f"{self.name}-home"), "dht.dat")
        argv += ["--enable-dht=true", f"--dht-listen-port={self.port}", f"--dht-file-path={dht}"]
        argv += ["--enable-dht6=false", "--bt-enable-lpd=false"]
        argv += ["--enable-peer-exchange=false", "--seed-ratio=0.0", "--seed-time=100000"]
        argv += ["--bt-max-peers=0", "--allow-overwrite=true", "--auto-save-interval=0"]
        argv += ["--bt-require-crypto=false", "--bt-min-crypto-level=plain", "--file-allocation=none"]
        argv += ["--bt-save-metadata=false", "--rpc-save-upload-metadata=false"]
        argv += ["--summary-interval=0", "--console-log-level=notice", *options]
        self.process = place.start(self.name, argv)
        until(self.answers, f"{self.name} to answer")

    def answers(self):
        self.check()
        try:
            return self.call("getVersion")
        except OSError:
            return None

    def call(self, method, *arguments):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"aria2.{method}", "params": arguments})
        request = urllib.request.Request(f"http://127.0.0.1:{self.rpc}/jsonrpc", body.encode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{self.name}: {method}: {error.read().decode(errors='replace')}") from None

    def add(self, torrent, folder, peers, **options):
        if peers:
            raise Failed("aria2 knows no peers but those of trackers, and those that dial it")
        options["dir"] = folder
        if torrent.startswith("magnet:"):
            self.gid = self.call("addUri", [torrent], options)
        else:
            with open(torrent, "rb") as file:
                self.gid = self.call("addTorrent", base64.b64encode(file.read()).decode(), [], options)

    def seed(self, torrent, folder, peers):
        # It looks at what is there.
        self.add(torrent, folder, peers, **{"check-integrity": "true"})

    leech = add

    def is_complete(self):
        self.check()
        keys = ["status", "completedLength", "totalLength", "verifiedLength", "verifyIntegrityPending"]
        now = self.call("tellStatus", self.gid, [*keys, "seeder", "errorMessage", "followedBy"])
        if now["status"] == "error":
            raise Failed(f"{self.name}: {now.get('errorMessage')}")
        if now.get("followedBy"):
            # The metadata of a magnet link is here; the torrent is another download.
            (self.gid,) = now["followedBy"]
            return False
        checks = "verifiedLength" in now or "verifyIntegrityPending" in now
        return now["completedLength"] == now["totalLength"] and not checks and now.get("seeder") == "true"

    def wait_complete(self, limit=LIMIT):
        until(self.is_complete, f"{self.name} to be complete", limit)

    wait_seeding = wait_complete

    def stop(self):
        """It tells its trackers, and writes what it holds."""
        if self.process.process.poll() is None:
            self.process.end(signal.SIGINT)


class ScgiTransport(xmlrpc.client.Transport):
    """XML-RPC over SCGI over a socket in the file system, as rtorrent has it."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def request(self, host, handler, body, verbose=False):
        fields = ("CONTENT_LENGTH", str(len(body)), "SCGI", "1")
        head = b"".join(field.encode() + b"\0" for field in fields)
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(LIMIT)
            stream.connect(self.path)
            stream.sendall(b"%d:%s,%s" % (len(head), head, body))
            answer = b"".join(iter(lambda: stream.recv(1 << 16), b""))
        parser, unmarshaller = self.getparser()
        parser.feed(answer.partition(b"\r\n\r\n")[2])
        parser.close()
        return unmarshaller.close()


class Rtorrent(Party):
    """rtorrent 0.9.8 and its RPC."""

    kind = "rtorrent"

    SETTINGS = """
        system.daemon.set = true
        network.scgi.open_local = {home}/s
        network.bind_address.set = {address}
        network.local_address.set = {address}
        network.port_range.set = {port}-{port}
        network.port_random.set = no
        dht.mode.set = disable
        protocol.pex.set = no
        trackers.use_udp.set = yes
        protocol.encryption.set = none
        pieces.hash.on_completion.set = no
        network.xmlrpc.size_limit.set = 4M
        session.path.set = {home}/session
        directory.default.set = {home}
    """

    def __init__(self, place, name=None, version=4):
        super().__init__(place, name, version)
        # The path of a socket is short.
        self.home = tempfile.mkdtemp(prefix="rt-", dir=place.folder)
        os.mkdir(os.path.join(self.home, "session"))
        with open(os.path.join(self.home, "rc"), "w") as file:
            filled = self.SETTINGS.format(home=self.home, address=self.address, port=self.port)
            file.write("\n".join(line.strip() for line in filled.splitlines()) + "\n")
        argv = ["rtorrent", "-n", "-o", f"import={self.home}/rc"]
        self.process = place.start(self.name, argv, environment={"TERM": "dumb", "HOME": self.home})
        transport = ScgiTransport(os.path.join(self.home, "s"))
        self.rpc = xmlrpc.client.ServerProxy("http://rtorrent", transport=transport)
        until(self.answers, f"{self.name} to answer")

    def answers(self):
        self.check()
        try:
            return self.rpc.system.client_version()
        except OSError:
            return None

    def add(self, torrent, folder, peers):
        self.rpc.load.start("", torrent, f'd.directory.set="{folder}"')
        (self.hash,) = until(lambda: self.rpc.download_list(""), f"{self.name} to add it")
        for peer in peers:
            self.meet(peer)

    seed = leech = add

    def meet(self, endpoint):
        self.rpc.add_peer(self.hash, spelled(endpoint))

    def is_complete(self):
        self.check()
        try:
            # What a magnet link names is no torrent yet, but it has its hash.
            if self.rpc.d.is_meta(self.hash):
                return False
            wanted = {"complete": 1, "hashing": 0, "is_hash_checking": 0, "is_hash_checked": 1}
            return all(getattr(self.rpc.d, name)(self.hash) == value for name, value in wanted.items())
        except xmlrpc.client.Fault:
            # Between the two it has none.
            return False

    def wait_complete(self, limit=LIMIT):
        until(self.is_complete, f"{self.name} to be complete", limit)

    wait_seeding = wait_complete

    def stop(self):
        if self.process.process.poll() is None:
            self.process.end(signal.SIGINT)


PARTIES = {party.kind: party for party in (Dunlin, Libtorrent, Transmission, Aria2, Rtorrent)}
