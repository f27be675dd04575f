//! Which addresses are accepted, and what becomes of them.

use super::*;

#[test]
fn addresses_are_read() {
    // Text, scheme, host, port, target, authority.
    let cases = [
        ("http://a.example/announce", Scheme::Http, "a.example", 80, "/announce", "a.example"),
        (
            "HTTP://A.Example:6969/x?k=1#f",
            Scheme::Http,
            "a.example",
            6969,
            "/x?k=1",
            "a.example:6969",
        ),
        ("https://t.example", Scheme::Https, "t.example", 443, "/", "t.example"),
        ("https://t.example:443/a", Scheme::Https, "t.example", 443, "/a", "t.example"),
        ("https://t.example:80?a=b", Scheme::Https, "t.example", 80, "/?a=b", "t.example:80"),
        ("udp://[2001:DB8::1]:6969", Scheme::Udp, "2001:db8::1", 6969, "/", "[2001:db8::1]:6969"),
        (
            "udp://192.0.2.1:80/dir?a=b&c=d",
            Scheme::Udp,
            "192.0.2.1",
            80,
            "/dir?a=b&c=d",
            "192.0.2.1:80",
        ),
        (" http://h:/a b|é ", Scheme::Http, "h", 80, "/a%20b%7C%C3%A9", "h"),
    ];
    for (text, scheme, host, port, target, authority) in cases {
        let url = TrackerUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.scheme(), url.host(), url.port()), (scheme, host, port), "{text}");
        assert_eq!((url.target(), url.authority().as_str()), (target, authority), "{text}");
        assert_eq!(TrackerUrl::parse(&url.to_string()).as_ref(), Ok(&url), "{text}");
    }
}

#[test]
fn what_is_no_tracker_is_refused() {
    let cases = [
        ("", "expected http://"),
        ("a.example/announce", "expected http://"),
        ("wss://a.example/", "trackers at wss:// are not supported"),
        ("ftp://a.example/", "trackers at ftp:// are not supported"),
        ("udp://a.example/announce", "needs its port"),
        ("udp://a.example:/announce", "needs its port"),
        ("udp://a.example:0", "`0` is no port"),
        ("http://a.example:65536/", "`65536` is no port"),
        ("http://a.example:+80/", "is no port"),
        ("http:///announce", "is no name"),
        ("http://ä.example/", "is no name"),
        ("http://a b/", "is no name"),
        ("http://[::1/", "is no name"),
        ("http://[fe80::1%eth0]/", "is no name"),
        ("http://[::1]x/announce", "is no port"),
        ("http://me:secret@a.example/", "a user name"),
        ("http://a.example/\r\nHost: b", "a control character"),
        ("http://a.example/?info_hash=1", "sets `info_hash` itself"),
        ("http://a.example/?a=1&p%6Frt=1", "sets `port` itself"),
        ("http://a.example/?a=1;LEFT", "sets `left` itself"),
        ("http://127.0.0.1/admin", "must begin with /announce"),
        ("http://localhost:8080/", "must begin with /announce"),
        ("http://[::ffff:127.0.0.1]/x", "must begin with /announce"),
        ("http://0.0.0.0/x", "must begin with /announce"),
    ];
    for (text, expected) in cases {
        let error = TrackerUrl::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(TrackerUrl::parse("http://127.0.0.1:1/announce.php?k=1").is_ok());
    assert!(TrackerUrl::parse("udp://127.0.0.1:1").is_ok());
    let long = format!("http://a/{}", "x".repeat(MAX_TRACKER_URL));
    assert_eq!(TrackerUrl::parse(&long), Err(TrackerUrlError::TooLong(MAX_TRACKER_URL + 9)));
}

#[test]
fn scrapes_go_beside_announces() {
    // Target of announces, target of scrapes.
    let cases = [
        ("/announce", Some("/scrape")),
        ("/x/announce.php?k=1", Some("/x/scrape.php?k=1")),
        ("/a", None),
        ("/announce/x", None),
        ("/announce?x=2/4", Some("/scrape?x=2/4")),
        ("/announce?x=2%0644", Some("/scrape?x=2%0644")),
        ("/x/announcement", Some("/x/scrapement")),
        ("/xannounce", None),
        ("/0123456789abcdef/announce", Some("/0123456789abcdef/scrape")),
    ];
    for (target, expected) in cases {
        let url = TrackerUrl::parse(&format!("http://a.example{target}")).unwrap();
        assert_eq!(url.scrape_target().as_deref(), expected, "{target}");
    }
}

#[test]
fn redirects_lead_where_they_may() {
    let cases = [
        ("http://a/x/announce?k=1", "http://b:1/y?z", Ok("http://b:1/y?z")),
        ("http://a/x/announce?k=1", "https://b/y", Ok("https://b/y")),
        ("http://a/x/announce?k=1", "//b/y", Ok("http://b/y")),
        ("http://a:7/x/announce?k=1", "/y?r=http://q", Ok("http://a:7/y?r=http://q")),
        ("http://a/x/announce?k=1", "y?u=http://q", Ok("http://a/x/y?u=http://q")),
        ("http://a/x/announce?k=1", "?info_hash=2", Ok("http://a/x/announce?info_hash=2")),
        ("https://a/announce", "/b", Ok("https://a/b")),
        ("https://a/announce", "http://a/b", Err("from https to http")),
        ("http://a/announce", "udp://a:1/", Err("from HTTP to UDP")),
        ("http://a/announce", "gopher://a", Err("not supported")),
        ("http://a/announce", "http://b:99999/", Err("no port")),
    ];
    for (from, to, expected) in cases {
        let found = TrackerUrl::parse(from).unwrap().redirect(to);
        match (found, expected) {
            (Ok(url), Ok(text)) => assert_eq!(url.to_string(), text, "{from} {to}"),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{to}: {error}"),
            (found, _) => panic!("{from} {to}: {found:?}"),
        }
    }
}

#[test]
fn secrets_are_not_shown() {
    let url = "https://t.example/0123456789abcdef0123456789abcdef/announce?passkey=secret";
    let url = TrackerUrl::parse(url).unwrap();
    assert_eq!(format!("{url:?}"), "https://t.example/***/announce?***");
    let cases = [
        ("http://a/announce", "http://a/announce"),
        ("http://a:80/announce.php?passkey=0123", "http://a/announce.php?***"),
        ("http://a/announce/s3cret", "http://a/announce/***"),
        ("http://a/announces3cret/x.y", "http://a/***/***"),
        ("http://a/announce.s3cret", "http://a/***"),
        ("udp://a:6969", "udp://a:6969/"),
        ("wss://a:1/s3cret", "wss://a:1/***"),
        ("http://me:s3cret@a/announce", "http://a/***"),
        ("s3cret", "s3cret/***"),
    ];
    for (text, expected) in cases {
        assert_eq!(TrackerUrl::mask(text), expected, "{text}");
    }
}

#[test]
fn what_answers_to_us_alone_must_look_like_a_tracker() {
    let cases = [
        ("http://127.0.0.1/announce", true),
        ("http://127.0.0.1/x", false),
        ("http://127.0.0.1/announce.php?a=..", true),
        ("http://127.0.0.1/announce/../x", false),
        ("http://127.0.0.1/announce/%2e%2E/x", false),
        ("http://127.0.0.1/announce/..%2Fx", false),
        ("http://127.0.0.1/announce/..\\x", false),
        ("http://0.0.0.0/x", false),
        ("http://[::1]/x", false),
        ("http://169.254.169.254/latest/meta-data/", false),
        ("http://169.254.169.254/announce", true),
        ("http://[fe80::1]/x", false),
        ("http://[::ffff:169.254.1.1]/x", false),
        ("http://192.0.2.1/x", true),
        ("udp://169.254.1.1:1/x", true),
    ];
    for (text, expected) in cases {
        assert_eq!(TrackerUrl::parse(text).is_ok(), expected, "{text}");
    }
}

#[test]
fn what_is_public() {
    let public = ["192.0.2.1", "8.8.8.8", "100.63.0.1", "100.128.0.1", "2001:db8::1"];
    let local = [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "240.0.0.1",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:10.0.0.1",
    ];
    assert!(public.iter().all(|ip| is_public(ip.parse().unwrap())));
    for ip in local {
        assert!(!is_public(ip.parse().unwrap()), "{ip}");
    }
}
