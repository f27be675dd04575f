//! Every file of the committed corpora keeps the properties of what comes from other processes.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn corpus_of_mpi() {
    replay("fuzz/corpus/mpi", 20, dunlin_cluster::fuzzing::mpi_stream);
}

#[test]
fn corpus_of_joining() {
    replay("fuzz/corpus/joining", 20, dunlin_cluster::fuzzing::joining);
}

#[test]
fn corpus_of_trace() {
    replay("fuzz/corpus/trace", 20, dunlin_cluster::fuzzing::trace);
}

#[test]
fn corpus_of_fault() {
    replay("fuzz/corpus/fault", 20, |data| {
        if let Ok(text) = std::str::from_utf8(data) {
            dunlin_cluster::fuzzing::fault(text);
        }
    });
}
