//! Ranks of one host that link what another one has.

use super::*;

fn complete(torrent: u32, files: &[u32]) -> Control {
    let files = files.iter().copied().map(FileIndex).collect();
    Control::FileComplete { torrent: TorrentId(torrent), files }
}

fn failed(name: &str) -> Control {
    let failed = FailedFile { name: name.to_owned(), reason: "a dead disk".to_owned() };
    Control::AllComplete { failed: vec![failed] }
}

fn lost(rank: u32) -> CoordinatorInput {
    CoordinatorInput::Lost { rank: Rank(rank) }
}

fn placing(peers: u32) -> CoordinatorConfig {
    CoordinatorConfig { placing: true, ..config(peers) }
}

#[test]
fn files_are_linked_as_they_complete() {
    let texts = ["a=A b=B c=C", "&h:/2 *** a@A", "&h:/3 ***", "&i:/4 ***", "&h:/2 ***"];
    let (mut run, go) = Run::all(placing(5), &texts);
    let expected = [
        "1 go t0(a b c)!",
        "2 go t0(a b c)?",
        "3 go t0(a b c)?<2:/2",
        "4 go t0(a b c)?",
        "5 go t0(a b c)?<2:/2",
        // What stands there already is ready at once.
        "3 linkable t0 [f0]",
        "5 linkable t0 [f0]",
    ];
    assert_eq!(go, expected);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2"]);
    assert_eq!(run.say(2, complete(0, &[2, 0])), ["3 linkable t0 [f2]", "5 linkable t0 [f2]"]);
    assert_eq!(run.say(4, complete(0, &[1])), [""; 0], "another host");
    assert_eq!(run.say(2, complete(0, &[2, 9])), [""; 0], "once each, and no nonsense");
    let last = ["3 linkable t0 [f1] last", "5 linkable t0 [f1] last"];
    assert_eq!(run.say(2, complete(0, &[1])), last);
    // Nothing more follows, and a lookup is answered.
    assert_eq!(run.done(2), [""; 0]);
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 2 3"]);
    let plan: Vec<_> =
        run.coordinator.outcome().plan.iter().map(|of| (of.rank.0, of.bytes, of.linked)).collect();
    assert_eq!(plan, [(2, 8, 0), (3, 0, 12), (4, 12, 0), (5, 0, 0)]);
}

#[test]
fn links_go_from_folder_to_folder() {
    let texts = ["a=A", "&h:/2 +a", "&h:/3 +a", "&h:/3 +a"];
    let (mut run, go) = Run::all(placing(4), &texts);
    let expected = ["1 go t0(a)!", "2 go t0(a)?", "3 go t0(a)?<2:/2", "4 go t0(a)?<3:/3"];
    assert_eq!(go, expected);
    assert_eq!(run.say(2, complete(0, &[0])), ["3 linkable t0 [f0] last"]);
    assert_eq!(run.say(3, complete(0, &[0])), ["4 linkable t0 [f0] last"]);
}

#[test]
fn who_gives_no_more_says_so() {
    let texts = ["a=A b=B", "&h:/2 ***", "&h:/2 ***", "&h:/4 ***"];
    let start = || {
        let (mut run, _) = Run::all(placing(4), &texts);
        assert_eq!(run.say(2, complete(0, &[0])), ["3 linkable t0 [f0]", "4 linkable t0 [f0]"]);
        run
    };
    // It has failed: who has another folder tries for itself, who shares it need not.
    let mut run = start();
    assert_eq!(run.say(2, failed("b")), ["3 linkable t0 [] last", "4 linkable t0 [] last"]);
    assert_eq!(run.lookup(4, "a"), ["4 swarm t0 a+info: 1 4"]);
    assert_eq!(run.lookup(3, "a"), ["3 refused a"]);
    // It has died: one that shares its folder takes over, and whoever has another tries for itself.
    let mut run = start();
    let died = [
        "3 linkable t0 [] last",
        "4 linkable t0 [] last",
        "1 departed 2",
        "3 departed 2",
        "4 departed 2",
    ];
    assert_eq!(run.input(lost(2)), died);
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 3"]);
    // Who waits and dies changes nothing for the others.
    let mut run = start();
    run.input(lost(3));
    assert_eq!(run.say(2, complete(0, &[1])), ["4 linkable t0 [f1] last"]);
}

#[test]
fn an_heir_of_the_folder_goes_on() {
    let texts = ["a=A b=B c=C", "&h:/2 ***", "&h:/2 ***", "&h:/2 ***"];
    let (mut run, _) = Run::all(placing(4), &texts);
    run.say(2, complete(0, &[0]));
    // The heir has linked the first already; of that the others heard.
    run.say(3, complete(0, &[0]));
    let died = run.input(lost(2));
    assert_eq!(died[0], "3 linkable t0 [] last");
    assert_eq!(died.len(), 4, "rank 4 waits on: {died:?}");
    assert_eq!(run.say(3, complete(0, &[2])), ["4 linkable t0 [f2]"]);
    assert_eq!(run.say(3, failed("b")), ["4 linkable t0 [] last"]);
    assert_eq!(run.lookup(4, "a"), ["4 refused a"]);
    // If that one dies, too, the last one may try.
    run.input(lost(3));
    assert_eq!(run.lookup(4, "a"), ["4 swarm t0 a+info: 1 4"]);
}

#[test]
fn into_one_folder_only_one_writes() {
    // All of them own the file, and all want it in the same folder.
    let each = "&h:/d a=ABC +a elsewhere";
    let (mut run, go) = Run::all(placing(3), &[each; 3]);
    assert_eq!(go, ["1 go t0(a)!?", "2 go t0(a)?<1:/d", "3 go t0(a)?<1:/d"]);
    assert_eq!(run.lookup(1, "a"), ["1 swarm t0 a+info: 1"], "who links is no member");
    let last = ["2 linkable t0 [f0] last", "3 linkable t0 [f0] last"];
    assert_eq!(run.say(1, complete(0, &[0])), last);
}
