//! Every file of the committed corpus keeps the properties of a client and its world, and so do
//! random inputs.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use dunlin_base::Rng;
use dunlin_hostile::fuzzing;
use replay::replay;

#[test]
fn corpus_of_client() {
    replay("fuzz/corpus/client", 20, fuzzing::client);
}

/// Inputs by chance: `DUNLIN_SEEDS` of them, from `DUNLIN_SEED` on. A line for each that fails.
#[test]
fn chance() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("DUNLIN_SEED").unwrap_or(0);
    let count = number("DUNLIN_SEEDS").unwrap_or(300);
    let mut failed = Vec::new();
    for seed in first..first + count {
        let mut rng = Rng::fork(seed, 5);
        let length = 100 + rng.below(5000);
        let bytes: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
        if let Err(panic) = std::panic::catch_unwind(|| fuzzing::client(&bytes)) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            failed.push(format!("seed {seed}: {}", text.unwrap_or_default().replace('\n', " ")));
        }
    }
    assert!(failed.is_empty(), "\n{}\n{} of {count}", failed.join("\n"), failed.len());
}
