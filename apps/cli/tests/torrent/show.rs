//! `dunlin show`: a table for people, a document for programs.

use crate::common::Sandbox;
use crate::{pattern, pipe};

fn torrent(sandbox: &Sandbox, format: &str) {
    for (name, length) in [("a.bin", 100_000), ("empty", 0), ("sub/b.bin", 5000), ("sub/c", 1)] {
        sandbox.write(&format!("data/{name}"), pattern(length));
    }
    let options = "--piece-size 32KiB --tracker http://t.example/a --comment hi --no-date";
    sandbox.expect(0, &format!("create data -o t.torrent --format {format} {options}"));
}

#[test]
fn the_table_has_everything_that_matters() {
    let sandbox = Sandbox::new();
    torrent(&sandbox, "hybrid");
    let table = sandbox.expect(0, "show t.torrent").stdout;
    for line in [
        "          name  data",
        "       comment  hi",
        "        format  hybrid",
        "       private  no",
        "  content size  102.5 KiB (105001 bytes)",
        "    piece size  32.0 KiB (32768 bytes)",
        "        pieces  6",
        "      trackers  tier 1: http://t.example/a",
        "    file count  4",
        "         files  data",
        "                ├─a.bin [97.7 KiB]",
        "                ├─empty [0 B]",
        "                └─sub",
        "                  ├─b.bin [4.9 KiB]",
        "                  └─c [1 B]",
    ] {
        let found = table.lines().any(|found| found.trim() == line.trim());
        assert!(found, "{line}\n{table}");
    }
    assert!(!table.contains("created  ") && !table.contains(".pad"), "{table}");
}

#[test]
fn the_document_has_everything() {
    let sandbox = Sandbox::new();
    for (format, padding) in [("v1", 0), ("v2", 0), ("hybrid", 3)] {
        let sandbox_of_format = Sandbox::new();
        torrent(&sandbox_of_format, format);
        let document = sandbox_of_format.json(0, "show t.torrent");
        assert_eq!((&document["schema"], &document["ok"]), (&1.into(), &true.into()));
        let torrent = &document["torrent"];
        assert_eq!(torrent["format"], format);
        assert_eq!(torrent["info_hash"].is_string(), format != "v2");
        assert_eq!(torrent["info_hash_v2"].is_string(), format != "v1");
        assert_eq!(torrent["size"], 105_001);
        assert_eq!(torrent["pieces"], if format == "v1" { 4 } else { 6 });
        assert_eq!(torrent["missing_piece_layers"], 0);
        let files = torrent["files"].as_array().unwrap();
        assert_eq!(files.iter().filter(|file| file["padding"] == true).count(), padding);
        let b = files.iter().find(|file| file["path"] == "sub/b.bin").unwrap();
        assert_eq!((&b["size"], &b["stored"]), (&5000.into(), &"data/sub/b.bin".into()));
        assert_eq!(b["pieces_root"].is_string(), format != "v1");
        assert!(torrent["magnet"].as_str().unwrap().starts_with("magnet:?xt=urn:bt"));
        assert_eq!(torrent["warnings"].as_array().unwrap().len(), 0);
    }
    let failure = sandbox.json(4, "show nowhere.torrent");
    assert_eq!((&failure["ok"], &failure["error"]["kind"]), (&false.into(), &"input".into()));
}

#[test]
fn what_people_see_cannot_move_their_cursor() {
    let sandbox = Sandbox::new();
    let info = b"d6:lengthi1e4:name9:a\x1b[2J/../12:piece lengthi16384e6:pieces20:\
        aaaaaaaaaaaaaaaaaaaae";
    let comment = "\u{202e}gpj\x1b]0;x\x07";
    let torrent =
        [format!("d7:comment{}:{comment}4:info", comment.len()).as_bytes(), info, b"e"].concat();
    let (_, done) = pipe(&sandbox, 0, "show -", &torrent);
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
    }
    assert!(
        done.stderr.contains("the name `a\\u{1b}[2J/../` was changed to `a_[2J..`"),
        "{done:?}"
    );
    let (document, _) = pipe(&sandbox, 0, "show - --json", &torrent);
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["torrent"]["name"], "a_[2J..");
    assert_eq!(document["torrent"]["warnings"].as_array().unwrap().len(), 1);
}
