"""A libtorrent session, driven by JSON lines on standard input; what happens are JSON lines on standard
output. It needs the Python binding of libtorrent 2.0 (python3-libtorrent) and ends with its input.

    libtorrent_driver.py ADDRESS PORT [SETTINGS AS JSON]

Commands, `n` being the number of the torrent from 0 in the order of `add`:

    {"do": "add", "torrent": FILE | "magnet": LINK, "dir": DIR, "seed": BOOL, "peers": [[IP, PORT], …]}
    {"do": "peer", "n": N, "peer": [IP, PORT]}    {"do": "scrape", "n": N}
    {"do": "status", "n": N}                      {"do": "remove", "n": N}

Events: `ready`, `added`, `metadata`, `finished` (everything is verified and in the file), `connected`,
`request` (somebody asked for a block), `tracker`, `scrape`, `status`, `removed`, `error`.
"""

import json
import os
import select
import sys
import time

import libtorrent as lt

# Nothing is found but by trackers and by what the commands name; and everything may be on one host.
QUIET = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": lt.enc_policy.disabled,
    "out_enc_policy": lt.enc_policy.disabled,
    "allow_multiple_connections_per_ip": True,
    "ssrf_mitigation": False,
    "announce_to_all_trackers": True,
    "announce_to_all_tiers": True,
    "min_reconnect_time": 1,
    "user_agent": "libtorrent/2.0",
    # With more threads libtorrent 2.0.8 now and then stops a hybrid torrent, even one from a seed of its
    # own: `v1 and v2 hashes do not describe the same data`.
    "aio_threads": 1,
    "hashing_threads": 1,
}
# Seconds that the last words to trackers may take.
FAREWELL = 5
# For the swarm's local discovery only; PEX is a plugin of its own, which is never added.
SAME_HOST = {"stop_tracker_timeout": 5, "close_redundant_connections": True}


def say(event, **fields):
    """In one write, so that lines never mix."""
    os.write(1, (json.dumps({"event": event, **fields}) + "\n").encode())


class Driver:
    def __init__(self, address, port, settings):
        category = lt.alert.category_t
        host = f"[{address}]" if ":" in address else address
        mask = (
            category.status_notification
            | category.storage_notification
            | category.error_notification
            | category.tracker_notification
            | category.connect_notification
        )
        if settings.pop("requests", False):
            mask |= category.incoming_request_notification
        own = {
            "listen_interfaces": f"{host}:{port}",
            "outgoing_interfaces": address,
            "alert_mask": mask,
            "alert_queue_size": 100_000,
        }
        chosen = {**QUIET, **SAME_HOST, **own, **settings}
        self.session = lt.session(chosen, 0)
        self.session.add_extension("ut_metadata")
        self.handles = []
        self.asked = 0  # announces that have not been answered yet
        self.has_trackers = self.said_stopped = False

    def add(self, command):
        if "magnet" in command:
            parameters = lt.parse_magnet_uri(command["magnet"])
        else:
            parameters = lt.add_torrent_params()
            parameters.ti = lt.torrent_info(command["torrent"])
        parameters.save_path = command["dir"]
        parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        handle = self.session.add_torrent(parameters)
        self.handles.append(handle)
        for ip, port in command.get("peers", []):
            handle.connect_peer((ip, port))
        say("added", n=len(self.handles) - 1)

    def status(self, number):
        status = self.handles[number].status()
        say(
            "status",
            n=number,
            at=time.monotonic(),
            up=status.total_payload_upload,
            down=status.total_payload_download,
            done=status.total_wanted_done,
            seeding=status.is_seeding,
            peers=[list(peer.ip) for peer in self.handles[number].get_peer_info()],
            known=status.list_peers,
            copies=status.distributed_full_copies,
        )

    def command(self, command):
        what = command["do"]
        if what == "add":
            self.add(command)
            return
        number = command["n"]
        handle = self.handles[number]
        if what == "peer":
            handle.connect_peer(tuple(command["peer"]))
        elif what == "scrape":
            handle.scrape_tracker()
        elif what == "announce":
            # 1: also if the tracker has asked to be left alone until later.
            handle.force_reannounce(0, -1, 1)
        elif what == "status":
            self.status(number)
        elif what == "remove":
            self.session.remove_torrent(handle)

    def alert(self, alert):
        kind = type(alert).__name__
        if kind == "torrent_finished_alert":
            alert.handle.flush_cache()
        elif kind == "cache_flushed_alert":
            if alert.handle.status().is_finished:
                say("finished", name=alert.torrent_name)
        elif kind == "metadata_received_alert":
            say("metadata", name=alert.torrent_name)
        elif kind == "peer_connect_alert":
            say("connected", peer=list(alert.ip))
        elif alert.what() == "incoming_request":
            # The binding has no class for it: `… piece: 3 start: 16384 length: 16384 …`.
            words = alert.message().replace(",", " ").split()
            say("request", piece=int(words[words.index("piece:") + 1]))
        elif kind == "tracker_announce_alert":
            self.asked += 1
            self.has_trackers = True
            # The binding does not say which event it announces but in words.
            self.said_stopped = self.said_stopped or "stopped" in alert.message()
        elif kind == "tracker_reply_alert":
            self.asked -= 1
            say("tracker", url=alert.url, peers=alert.num_peers)
        elif kind in ("tracker_error_alert", "tracker_warning_alert", "scrape_failed_alert"):
            self.asked -= kind == "tracker_error_alert"
            say("trouble", message=alert.message())
        elif kind == "scrape_reply_alert":
            say("scrape", complete=alert.complete, incomplete=alert.incomplete)
        elif kind == "torrent_removed_alert":
            say("removed")
        elif kind in ("torrent_error_alert", "file_error_alert", "listen_failed_alert"):
            say("error", message=alert.message())
        elif kind == "metadata_failed_alert" or kind == "peer_disconnected_alert":
            say("note", message=alert.message())

    def run(self):
        wake, waker = os.pipe()
        os.set_blocking(waker, False)
        # Without it alerts would have to be asked for.
        has_signal = hasattr(self.session, "set_alert_fd")
        if has_signal:
            self.session.set_alert_fd(waker)
        say("ready", version=lt.version, signal=has_signal)
        held = b""
        while True:
            ready, _, _ = select.select([0, wake], [], [], 1.0 if has_signal else 0.02)
            if wake in ready:
                os.read(wake, 4096)
            for alert in self.session.pop_alerts():
                self.alert(alert)
            if 0 not in ready:
                continue
            more = os.read(0, 1 << 20)
            if not more:
                return
            *lines, held = (held + more).split(b"\n")
            for line in lines:
                self.command(json.loads(line))

    def end(self):
        """Tells trackers that it stops, and waits until they have heard."""
        end = time.monotonic() + FAREWELL
        self.session.pause()
        while time.monotonic() < end and self.has_trackers and (self.asked > 0 or not self.said_stopped):
            self.session.wait_for_alert(100)
            for alert in self.session.pop_alerts():
                self.alert(alert)
        del self.handles
        del self.session


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    extra = json.loads(sys.argv[3]) if len(sys.argv) == 4 else {}
    driver = Driver(sys.argv[1], int(sys.argv[2]), extra)
    driver.run()
    driver.end()
