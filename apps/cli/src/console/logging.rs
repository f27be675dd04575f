//! Diagnostics on stderr: `-v`, `-vv`, or a filter in `DUNLIN_LOG`.

use crate::console::out;
use crate::exit::Failure;
use tracing_subscriber::EnvFilter;

/// The variable that holds a filter, like `debug` or `dunlin_cluster=trace`. It wins over `-v`.
const VARIABLE: &str = "DUNLIN_LOG";

/// Starts logging. `verbose` counts the `-v` on the command line.
///
/// # Errors
/// If the variable holds no filter.
pub(crate) fn start(verbose: u8) -> Result<(), Failure> {
    let by_option = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            Failure::environment(format!(
                "{VARIABLE} holds `{text}`, which is no filter ({error}); use a level like debug \
                 or target=level"
            ))
        })?,
        _ => EnvFilter::new(by_option),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| out::Log)
        .with_ansi(false)
        .init();
    Ok(())
}
