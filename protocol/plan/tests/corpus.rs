//! Every file of the committed corpus keeps the properties of plans.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn the_corpus_holds_the_promises() {
    replay("fuzz/corpus/plan", 20, dunlin_plan::fuzzing::plan);
}
