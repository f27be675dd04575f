//! Blocks between peers over MPI, and nothing else: no disk, no hash, no engine. It is started by a
//! launcher, as in `mpirun -np 6 mpi_blocks [BLOCK_BYTES [IN_FLIGHT [SECONDS]]]`: rank 0 and five
//! peers. Rank 0 prints one line: bytes a second of all peers together.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a line on stdout is what it is for")]

use dunlin_cluster::mpi::measure;
use dunlin_cluster::process::{Job, Launcher};
use std::time::Duration;

fn main() {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let number = |index: usize, usual: u64| numbers.get(index).copied().unwrap_or(usual);
    let launcher = Launcher::detect(&|name| std::env::var(name).ok());
    if launcher.is_none() {
        // `cargo bench` runs every benchmark; this one has nothing to measure alone.
        println!("mpi_blocks: start it with mpirun -np 6");
        return;
    }
    let job = match Job::join_mpi(launcher.as_ref(), None, &Default::default()) {
        Ok(job) => job,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(3);
        }
    };
    let block = u32::try_from(number(0, 256 << 10)).expect("a block below 4 GiB");
    let in_flight = u32::try_from(number(1, 4)).expect("requests at a time");
    let seconds = number(2, 3);
    if let Some(moved) = measure::blocks(&job, block, in_flight, Duration::from_secs(seconds)) {
        let rate = moved.bytes as f64 / moved.seconds / f64::from(1 << 30);
        println!(
            "{} peers, blocks of {} KiB, {in_flight} in flight a source: {rate:.2} GiB/s over {}",
            job.size() - 1,
            block >> 10,
            job.carrier()
        );
    }
    std::process::exit(i32::from(job.leave(0)));
}
