//! `dunlin clean PATH`: what unfinished runs left, listed on stdout and removed.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::console::out;
use crate::exit::{Exit, Failure};
use clap::Args as ClapArgs;
use dunlin_base::format_size;
use dunlin_disk::{CleanError, LockError, RealFs};
use std::path::PathBuf;

/// Options of `dunlin clean`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CleanArgs {
    /// The folder to clean, with all below it.
    ///
    /// An output folder, a plan, or any folder above them.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Lists and removes nothing.
    ///
    /// What would be removed is listed on stdout in the same form.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// If the path is not there (exit 4), a run is using it (exit 4), or something cannot be removed
/// (exit 5).
pub(crate) fn run(args: &CleanArgs) -> Result<Exit, Failure> {
    let path = args.path.display();
    if !args.path.is_dir() {
        return Err(Failure::input(format!(
            "{path} is no folder; give an output folder or a plan"
        )));
    }
    let leftovers = dunlin_disk::find_leftovers(&RealFs, &args.path).map_err(Failure::disk)?;
    let bytes = leftovers.iter().map(|leftover| leftover.bytes).sum();
    if !args.dry_run {
        dunlin_disk::remove_leftovers(&RealFs, &leftovers).map_err(|error| match error {
            CleanError::Lock(LockError::Held { .. }) => Failure::input(error),
            _ => Failure::disk(error),
        })?;
    }
    out::data(|page| leftovers.iter().try_for_each(|leftover| page.line(leftover.path.display())))?;
    let count = leftovers.len();
    out::notice(&match (count, args.dry_run) {
        (0, _) => format!("nothing to clean below {path}"),
        (_, true) => format!("{count} leftovers, {}; nothing was removed", format_size(bytes)),
        (_, false) => format!("removed {count} leftovers, {}", format_size(bytes)),
    });
    Ok(Exit::Ok)
}
