//! Replies of trackers: those over IPv4 and IPv6 become one, and a tracker elsewhere cannot name
//! peers on our own host.

use dunlin_tracker::{AnnounceFailure, AnnounceReply};
use std::net::{IpAddr, SocketAddr};

type AnnounceOutcome = Result<AnnounceReply, AnnounceFailure>;

/// One answer of two: all peers, and the longer waits. An answer over one family is enough; of two
/// failures the tracker's own message comes first.
pub(super) fn merge(one: AnnounceOutcome, other: AnnounceOutcome) -> AnnounceOutcome {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(both(one, other)),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Err(refused @ AnnounceFailure::Refused { .. }), Err(_)) => Err(refused),
        (Err(_), Err(other)) => Err(other),
    }
}

fn both(one: AnnounceReply, other: AnnounceReply) -> AnnounceReply {
    let mut peers = one.peers;
    peers.extend(other.peers);
    peers.sort_unstable();
    peers.dedup();
    let mut named_peers = one.named_peers;
    named_peers.extend(other.named_peers);
    AnnounceReply {
        // An absent value is less than any.
        interval: one.interval.max(other.interval),
        min_interval: one.min_interval.max(other.min_interval),
        tracker_id: one.tracker_id.or(other.tracker_id),
        complete: one.complete.max(other.complete),
        incomplete: one.incomplete.max(other.incomplete),
        downloaded: one.downloaded.max(other.downloaded),
        peers,
        named_peers,
        external_ip: one.external_ip.or(other.external_ip),
        warning: one.warning.or(other.warning),
    }
}

/// Adds the peers that were given by name, and leaves out those on our own host, unless the
/// tracker, at `tracker`, is there, too.
pub(super) fn add_named_peers(
    mut reply: AnnounceReply,
    named: Vec<SocketAddr>,
    tracker: IpAddr,
) -> AnnounceReply {
    reply.named_peers.clear();
    reply.peers.extend(named);
    if !tracker.to_canonical().is_loopback() {
        reply.peers.retain(|peer| !peer.ip().to_canonical().is_loopback());
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn two_answers_are_one() {
        let reply = |peer: &str, seconds| AnnounceReply {
            interval: Some(Duration::from_secs(seconds)),
            complete: Some(seconds as u32),
            peers: vec![peer.parse().unwrap()],
            ..AnnounceReply::default()
        };
        let refused = AnnounceFailure::Refused { reason: "no".to_owned(), retry: None };
        let lost = AnnounceFailure::Unreachable("x".to_owned());
        let (four, six) = (reply("192.0.2.1:1", 60), reply("[2001:db8::1]:1", 90));
        let merged = merge(Ok(four.clone()), Ok(six)).unwrap();
        assert_eq!((merged.peers.len(), merged.interval), (2, Some(Duration::from_secs(90))));
        assert_eq!(merge(Err(lost.clone()), Ok(four.clone())), Ok(four.clone()));
        assert_eq!(merge(Ok(four.clone()), Err(lost.clone())), Ok(four));
        assert_eq!(merge(Err(refused.clone()), Err(lost.clone())), Err(refused.clone()));
        assert_eq!(merge(Err(lost), Err(refused.clone())), Err(refused));
    }

    #[test]
    fn nobody_out_there_sends_us_to_ourselves() {
        let reply = AnnounceReply {
            peers: vec!["127.0.0.1:22".parse().unwrap(), "192.0.2.1:1".parse().unwrap()],
            named_peers: vec![("a".to_owned(), 1)],
            ..AnnounceReply::default()
        };
        let named = vec!["[::1]:7".parse().unwrap()];
        let far = add_named_peers(reply.clone(), named.clone(), [198, 51, 100, 1].into());
        assert_eq!(far.peers, ["192.0.2.1:1".parse().unwrap()]);
        let near = add_named_peers(reply, named, [127, 0, 0, 1].into());
        assert_eq!((near.peers.len(), near.named_peers.len()), (3, 0));
    }
}
