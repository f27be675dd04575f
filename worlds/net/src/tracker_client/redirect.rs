//! Where a tracker may redirect to (BEP 3 leaves it to HTTP; the limits are libtorrent's and our
//! own).

use dunlin_tracker::{AnnounceFailure, TrackerUrl, is_public};
use std::net::IpAddr;

/// Redirects that are followed, one after another.
pub(super) const MAX_REDIRECTS: usize = 5;

/// The next address. A `Location` without a query gets that of the announce: what moves is the
/// tracker, not the announce.
pub(super) fn next(
    url: &TrackerUrl,
    target: &str,
    location: &str,
) -> Result<(TrackerUrl, String), AnnounceFailure> {
    let next = url.redirect(location);
    let next = next.map_err(|error| AnnounceFailure::Unsupported(error.to_string()))?;
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let target = if next.target().contains('?') {
        next.target().to_owned()
    } else {
        next.target_with(query)
    };
    Ok((next, target))
}

/// Checks that the host at `from` may redirect to `url` at the addresses `to`: a public host may
/// not redirect into a private network, and none may have us request anything but an announce of
/// our own host or link.
pub(super) fn check(from: IpAddr, url: &TrackerUrl, to: &[IpAddr]) -> Result<(), AnnounceFailure> {
    if is_public(from) && !to.iter().all(|ip| is_public(*ip)) {
        let why = "the tracker redirects into a private network, which is not allowed";
        return Err(AnnounceFailure::Unsupported(why.to_owned()));
    }
    let allowed = to.iter().try_for_each(|ip| url.check_host(*ip));
    allowed.map_err(|error| AnnounceFailure::Unsupported(format!("a redirect: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announce_goes_along() {
        let url = TrackerUrl::parse("http://a.example/announce").unwrap();
        let target = "/announce?info_hash=1";
        let cases = [
            ("http://b.example/x", "/x?info_hash=1"),
            ("/x?y=1", "/x?y=1"),
            ("/announce?info_hash=1&again", "/announce?info_hash=1&again"),
        ];
        for (location, expected) in cases {
            assert_eq!(next(&url, target, location).unwrap().1, expected);
        }
        assert!(next(&url, target, "udp://b:1/").is_err());
    }

    #[test]
    fn no_way_from_outside_in() {
        let public: IpAddr = [192, 0, 2, 1].into();
        let private: IpAddr = [10, 0, 0, 1].into();
        let url = |text: &str| TrackerUrl::parse(text).unwrap();
        let any = url("http://a.example/x");
        assert!(check(public, &any, &[public]).is_ok());
        assert!(check(private, &any, &[public, private]).is_ok());
        assert!(check(public, &any, &[public, private]).is_err());
        // A tracker of the local network does not lead us to what listens here.
        let here: IpAddr = [127, 0, 0, 1].into();
        let link: IpAddr = [169, 254, 169, 254].into();
        for ip in [here, link, "::1".parse().unwrap(), "fe80::1".parse().unwrap()] {
            assert!(check(private, &any, &[ip]).is_err(), "{ip}");
            assert!(check(private, &url("http://a.example/announce"), &[ip]).is_ok(), "{ip}");
        }
    }
}
