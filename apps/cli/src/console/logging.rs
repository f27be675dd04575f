//! Diagnostics on stderr: `-v`, `-vv`, or a filter in `DUNLIN_LOG`.

use crate::console::out;
use crate::exit::Failure;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that holds a filter, like `debug` or `dunlin_cluster=trace`. It wins over `-v`.
const VARIABLE: &str = "DUNLIN_LOG";

/// Starts logging. `verbose` counts the `-v` on the command line.
///
/// # Errors
/// If the variable holds no filter.
pub(crate) fn start(verbose: u8) -> Result<(), Failure> {
    let by_option = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => parse(&text).map_err(|error| {
            Failure::environment(format!(
                "{VARIABLE} holds `{text}`, which is no filter ({error}); use a level like debug \
                 or target=level"
            ))
        })?,
        _ => Targets::new().with_default(by_option),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(|| out::Log).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// Reads directives that are separated by commas; empty ones count for nothing.
fn parse(text: &str) -> Result<Targets, ParseError> {
    let directives: Vec<&str> =
        text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if directives.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::ERROR));
    }
    directives.join(",").parse()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use tracing_subscriber::filter::LevelFilter;

    #[test]
    fn a_filter_is_a_level_or_targets_with_levels() {
        let filter = parse("warn, dunlin::job=info,").unwrap();
        assert_eq!(filter.default_level(), Some(LevelFilter::WARN));
        assert!(filter.would_enable("dunlin::job", &tracing::Level::INFO));
        assert!(!filter.would_enable("dunlin_net", &tracing::Level::INFO));
        let filter = parse("dunlin_cluster=trace").unwrap();
        assert!(filter.would_enable("dunlin_cluster::job", &tracing::Level::TRACE));
        assert!(!filter.would_enable("dunlin_net", &tracing::Level::ERROR));
        assert_eq!(parse(" ,").unwrap().default_level(), Some(LevelFilter::ERROR));
        assert!(parse("a=b=c").is_err() && parse("a=loud").is_err());
    }
}
