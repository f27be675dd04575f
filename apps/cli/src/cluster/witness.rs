//! `dunlin witness`: outlives the ranks of its host, to note which of them died first.

use crate::exit::{Exit, Failure};

/// Runs the command: whom to watch comes on standard input.
///
/// # Errors
/// If the input does not come from a rank, or processes cannot be watched here (exit 3).
pub(crate) fn run() -> Result<Exit, Failure> {
    dunlin_cluster::witness::witness(std::io::stdin().lock())
        .map_err(|error| Failure::environment(format!("the witness cannot watch: {error}")))?;
    Ok(Exit::Ok)
}
