//! The options of `dunlin verify`.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Options of `dunlin verify`.
#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// The torrent, `-` for stdin.
    ///
    /// A .torrent file of version 1, version 2, or both.
    #[arg(value_name = "TORRENT")]
    pub(crate) torrent: PathBuf,

    /// The folder that holds the torrent's file or folder.
    ///
    /// What is in it is only read. Links are not followed.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) data: PathBuf,

    /// Prints one JSON document instead of lines for people.
    ///
    /// Schema 1: fields may be added, none changes its meaning. Files that are right are counted,
    /// all others are listed.
    #[arg(long)]
    pub(crate) json: bool,

    /// Shows no progress.
    ///
    /// What is found is printed all the same.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
