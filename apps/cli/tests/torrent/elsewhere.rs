//! `dunlin seed` where nothing is right: another folder is advised, and never the one that was
//! refused.

use crate::common::{Sandbox, data};

const HERE: &str = "--bind 127.0.0.1 --port 0";

#[test]
fn the_refused_folder_is_not_advised() {
    let sandbox = Sandbox::new();
    for (number, name) in (0..).zip(["a", "b", "c"]) {
        sandbox.write(&format!("home/album/{name}"), data(number, 50_000));
        sandbox.write(&format!("lies/album/{name}"), vec![0; 50_000]);
    }
    // One name and one length say nothing.
    sandbox.write("one/album/a", vec![0; 50_000]);
    std::fs::create_dir(sandbox.path("away")).unwrap();
    sandbox.expect(0, "create home/album -o away/album.torrent --quiet");
    let none = "give --data with the folder that holds `album`";
    for (data, says) in [
        ("lies", none),
        ("lies/album", "/lies: give --data"),
        ("one/album", none),
        ("home/album", "/home: give --data"),
    ] {
        let done = sandbox.expect(6, &format!("seed away/album.torrent --data {data} {HERE}"));
        assert!(done.stderr.contains(says), "{data}: {}", done.stderr);
    }
}
