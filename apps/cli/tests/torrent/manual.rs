//! `dunlin completions` and `dunlin man`: made of the same definition as the help.

use crate::common::{Sandbox, text};

#[test]
fn completions_know_all_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.expect(0, &format!("completions {shell}")).stdout;
        for word in ["create", "edit", "magnet", "piece-size", "swarm"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let done = sandbox.expect(2, "completions csh");
    assert!(done.stderr.contains("bash, zsh, fish"), "{}", done.stderr);
}

#[test]
fn pages_for_all_commands() {
    let sandbox = Sandbox::new();
    let main = sandbox.expect(0, "man").stdout;
    assert!(main.contains(".TH dunlin 1") && main.contains("Exit codes"), "{main}");
    sandbox.expect(0, "man pages/man1");
    let pages = sandbox.tree("pages/man1");
    for page in ["dunlin.1", "dunlin-create.1", "dunlin-show.1", "dunlin-swarm.1"] {
        assert!(pages.iter().any(|found| found == page), "{page}: {pages:?}");
    }
    assert!(!pages.iter().any(|page| page.contains("witness") || page.contains("help")));
    let page = text(&sandbox.path("pages/man1/dunlin-create.1")).unwrap();
    assert!(page.contains(".TH dunlin-create 1") && page.contains("piece"), "{page}");
    sandbox.write("file", "");
    sandbox.expect(5, "man file");
}
