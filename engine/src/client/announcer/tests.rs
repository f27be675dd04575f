use super::*;
use AnnounceEvent::{Completed, None as Regular, Paused, Started, Stopped};

fn at(seconds: u64) -> Time {
    Time::from_duration(Duration::from_secs(seconds))
}

fn tiers(drawing: &str) -> Vec<Vec<String>> {
    let tier = |tier: &str| tier.split(',').map(str::to_owned).collect();
    drawing.split(' ').filter(|tier| !tier.is_empty()).map(tier).collect()
}

fn rules(private: bool) -> AnnounceRules {
    AnnounceRules { floor: Duration::from_secs(300), private }
}

/// An announcer that is asked as its clock says, with the answers that a test gives.
struct Bench {
    announcer: Announcer,
    now: Time,
    totals: AnnounceTotals,
}

impl Bench {
    fn new(drawing: &str, private: bool) -> Bench {
        let identity = Identity { info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]), key: 3 };
        let mut announcer = Announcer::new(identity, &tiers(drawing), rules(private), Rng::new(1));
        announcer.start(Time::ZERO);
        let totals = AnnounceTotals { left: 1000, ..AnnounceTotals::default() };
        Bench { announcer, now: Time::ZERO, totals }
    }

    /// What is due now: `url event` each.
    fn due(&mut self) -> Vec<(String, AnnounceEvent)> {
        self.asked().into_iter().map(|asked| (asked.url.to_string(), asked.request.event)).collect()
    }

    fn asked(&mut self) -> Vec<DueAnnounce> {
        self.announcer.check();
        let (now, totals) = (self.now, self.totals);
        std::iter::from_fn(|| self.announcer.due(now, totals, 6881, Some(50))).collect()
    }

    /// Goes on to the next time at which something is due.
    fn wait(&mut self) -> u64 {
        let before = self.now;
        self.now = self.now.max(self.announcer.next().expect("something to wait for"));
        self.now.since(before).as_secs()
    }

    fn index(&self, url: &str) -> u32 {
        let place = self.announcer.trackers.iter().position(|tracker| &*tracker.url == url);
        place.unwrap() as u32
    }

    fn answers(&mut self, url: &str, seconds: Option<u64>) -> bool {
        let reply = AnnounceReply {
            interval: seconds.map(Duration::from_secs),
            tracker_id: Some(Bytes::from(url.to_owned())),
            ..AnnounceReply::default()
        };
        let index = self.index(url);
        self.announcer.answered(self.now, index, Ok(Box::new(reply))).unwrap().switched
    }

    fn fails(&mut self, url: &str, failure: AnnounceFailure) {
        let index = self.index(url);
        self.announcer.answered(self.now, index, Err(failure)).unwrap();
    }

    fn is_down(&mut self, url: &str) {
        self.fails(url, AnnounceFailure::Unreachable("nobody there".into()));
    }
}

fn one(url: &str, event: AnnounceEvent) -> Vec<(String, AnnounceEvent)> {
    vec![(url.to_owned(), event)]
}

#[test]
fn a_round_starts_at_the_first_tier_and_goes_on_until_somebody_answers() {
    let mut bench = Bench::new("a b c", false);
    assert_eq!(bench.due(), one("a", Started));
    assert_eq!(bench.due(), [], "one at a time");
    bench.is_down("a");
    assert_eq!(bench.due(), one("b", Started));
    bench.answers("b", Some(600));
    assert_eq!(bench.due(), []);
    assert_eq!(bench.wait(), 600);
    assert_eq!(bench.due(), one("a", Started), "the next round begins anew");
    bench.is_down("a");
    assert_eq!(bench.due(), one("b", Regular));
    bench.is_down("b");
    assert_eq!(bench.due(), one("c", Started));
}

#[test]
fn who_answers_moves_to_the_front_of_its_tier() {
    let mut bench = Bench::new("a,b,c,d", false);
    let (first, _) = bench.due().remove(0);
    bench.is_down(&first);
    let (second, _) = bench.due().remove(0);
    bench.is_down(&second);
    let (third, _) = bench.due().remove(0);
    bench.answers(&third, Some(5000));
    bench.wait();
    assert_eq!(bench.due(), one(&third, Regular));
}

#[test]
fn tiers_are_shuffled_once_and_repeats_count_for_nothing() {
    let urls = "a,b,c,d,e,f,,g,a b";
    let order = |seed| {
        let identity = Identity { info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]), key: 3 };
        Announcer::new(identity, &tiers(urls), rules(false), Rng::new(seed)).tiers
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_eq!(order(1).iter().map(Vec::len).collect::<Vec<_>>(), [7]);
}

#[test]
fn intervals_are_kept_within_bounds() {
    // (what the tracker says, when the next round is)
    for (said, expected) in [
        (Some(600), 600),
        (Some(1), 300),
        (Some(0), 300),
        (None, 1800),
        (Some(u64::MAX / 2), 86_400),
    ] {
        let mut bench = Bench::new("a", false);
        bench.due();
        bench.answers("a", said);
        assert_eq!(bench.wait(), expected, "{said:?}");
    }
    let mut bench = Bench::new("a", false);
    bench.due();
    let (interval, min_interval) = (Some(Duration::from_secs(400)), Some(Duration::from_secs(900)));
    let reply = AnnounceReply { interval, min_interval, ..AnnounceReply::default() };
    bench.announcer.answered(bench.now, 0, Ok(Box::new(reply)));
    bench.announcer.force(at(5));
    assert_eq!(bench.wait(), 900, "nobody forces a tracker below its least interval");
}

#[test]
fn back_off_grows_and_ends_with_the_first_answer() {
    let mut bench = Bench::new("a", false);
    let mut waits = Vec::new();
    for _ in 0..19 {
        assert_eq!(bench.due(), one("a", Started));
        bench.is_down("a");
        assert_eq!(bench.due(), []);
        waits.push(bench.wait());
    }
    for (wait, least) in waits.iter().zip([17, 55, 117, 205, 317, 455, 617, 805, 1017]) {
        assert!((least..=least + least / 10 + 1).contains(wait), "{wait} for {least}");
    }
    assert!(waits[18] >= 3600 && waits[18] <= 3961);
    bench.due();
    bench.answers("a", Some(600));
    bench.wait();
    bench.due();
    bench.is_down("a");
    bench.due();
    // No sooner than the least interval that nobody said.
    assert!(bench.wait() <= 31);
}

#[test]
fn refusals_say_when_or_never() {
    let refuse = |reason: &str, retry| AnnounceFailure::Refused { reason: reason.into(), retry };
    let minutes = |minutes: u64| Some(RetryIn::After(Duration::from_secs(60 * minutes)));
    let mut bench = Bench::new("a", false);
    bench.due();
    bench.fails("a", refuse("Overloaded", minutes(5)));
    bench.due();
    assert_eq!(bench.wait(), 300);
    for never in [
        refuse("Not a tracker", Some(RetryIn::Never)),
        refuse("Unregistered torrent!", None),
        AnnounceFailure::Unsupported("gopher".into()),
    ] {
        let mut bench = Bench::new("a b", false);
        bench.due();
        bench.fails("a", never);
        assert_eq!(bench.due(), one("b", Started));
        bench.answers("b", Some(600));
        bench.wait();
        assert_eq!(bench.due(), one("b", Regular));
        bench.fails("b", AnnounceFailure::Unsupported("gopher".into()));
        assert_eq!((bench.due(), bench.announcer.next()), (vec![], None), "nobody is left");
    }
}

#[test]
fn completed_and_stopped_go_to_whoever_heard_started() {
    let mut bench = Bench::new("a b c", false);
    bench.due();
    bench.is_down("a");
    bench.due();
    bench.answers("b", Some(600));
    bench.wait();
    bench.due();
    bench.answers("a", Some(600));
    bench.totals = AnnounceTotals { left: 0, ..bench.totals };
    bench.announcer.completed();
    assert_eq!(bench.due(), [("a".into(), Completed), ("b".into(), Completed)]);
    bench.answers("a", Some(600));
    bench.announcer.stop();
    assert_eq!(bench.due(), one("a", Stopped), "b has yet to answer");
    assert!(!bench.announcer.is_stopped());
    bench.wait();
    assert_eq!(bench.due(), one("b", Stopped), "though not for ever");
    for url in ["a", "b", "b"] {
        bench.answers(url, None);
    }
    assert!(bench.announcer.is_stopped());
    assert_eq!((bench.due(), bench.announcer.next()), (vec![], None));
    bench.announcer.start(bench.now);
    assert_eq!(bench.due(), one("a", Started));
}

#[test]
fn who_never_heard_started_hears_nothing() {
    let mut bench = Bench::new("a", false);
    bench.due();
    bench.announcer.completed();
    bench.announcer.stop();
    bench.is_down("a");
    assert_eq!(bench.due(), []);
    assert!(bench.announcer.is_stopped());
}

#[test]
fn counters_begin_with_started_and_a_partial_seed_says_so() {
    let mut bench = Bench::new("a", false);
    bench.totals = AnnounceTotals { uploaded: 100, downloaded: 50, ..bench.totals };
    let first = bench.asked().remove(0).request;
    assert_eq!((first.uploaded, first.downloaded, first.left), (0, 0, 1000));
    assert_eq!(
        (first.port, first.key, first.num_want, first.tracker_id),
        (6881, 3, Some(50), None)
    );
    bench.answers("a", Some(600));
    bench.totals =
        AnnounceTotals { uploaded: 300, downloaded: 60, corrupt: 7, redundant: 8, left: 0 };
    bench.announcer.set_partial_seed(true);
    bench.wait();
    let next = bench.asked().remove(0).request;
    assert_eq!(next.event, Paused);
    assert_eq!((next.uploaded, next.downloaded, next.corrupt, next.redundant), (200, 10, 7, 8));
    assert_eq!(next.tracker_id, Some(Bytes::from("a")));
    bench.answers("a", Some(600));
    bench.announcer.stop();
    let last = bench.asked().remove(0).request;
    assert_eq!((last.event, last.num_want), (Stopped, Some(0)));
}

#[test]
fn a_switch_of_trackers_shows_where_the_torrent_is_private() {
    for private in [false, true] {
        let mut bench = Bench::new("a b", private);
        bench.due();
        assert!(!bench.answers("a", Some(600)));
        bench.wait();
        bench.due();
        bench.is_down("a");
        bench.due();
        assert_eq!(bench.answers("b", Some(600)), private);
    }
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut bench = Bench::new("a", false);
    let reply = || Ok(Box::new(AnnounceReply::default()));
    assert_eq!(bench.announcer.answered(at(0), 0, reply()), None);
    assert_eq!(bench.announcer.answered(at(0), 9, reply()), None);
    assert_eq!(bench.due(), one("a", Started));
    let nobody = Bench::new("", false).announcer;
    assert_eq!(nobody.next(), Some(Time::ZERO));
}
