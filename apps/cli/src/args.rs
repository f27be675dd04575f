//! The command line: every command, every option, its short help (`-h`) and its long one
//! (`--help`).
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::clean::CleanArgs;
#[cfg(feature = "course")]
use crate::cluster::args::place::{CastArgs, PlaceArgs};
#[cfg(feature = "course")]
use crate::cluster::args::{JoinArgs, RunArgs, SwarmArgs};
use crate::console::{self, json, out};
use crate::exit::{Exit, Failure};
#[cfg(feature = "manual")]
use crate::manual::{CompletionsArgs, ManArgs};
#[cfg(feature = "internet")]
use crate::torrents::args::transfer::{GetArgs, SeedArgs};
#[cfg(feature = "internet")]
use crate::torrents::args::verify::VerifyArgs;
#[cfg(feature = "internet")]
use crate::torrents::args::{CreateArgs, EditArgs, MagnetArgs, ShowArgs};
#[cfg(feature = "course")]
use crate::trace::TraceArgs;
#[cfg(feature = "internet")]
use crate::tracker::args::TrackerArgs;
use clap::{Parser, Subcommand, error::ErrorKind};
use dunlin_base::{is_disguise, plain};
use std::ffi::OsString;

/// Moves large files to many machines at once.
///
/// Data goes to stdout, everything else to stderr. Sizes and rates: B, kB MB GB (powers of 1000),
/// KiB MiB GiB (powers of 1024); rates are per second.
///
/// Exit codes: 0 ok; 1 some files or peers failed; 2 usage; 3 configuration or environment; 4 bad
/// input; 5 disk; 6 verification mismatch; 7 network or tracker; 8 stalled or timed out;
/// 9 interrupted, can be resumed; 130 second interrupt.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Says more on stderr (-vv: still more).
    ///
    /// Once: what happens. Twice: decisions, too. The variable DUNLIN_LOG holds a filter instead,
    /// like `debug` or `dunlin_cluster=trace`, and wins over this option.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a plan: a tracker and all its peers, until everyone has what it wants.
    ///
    /// PLAN is a folder of in<R>.txt (the course format), a folder of peer<R>/ directories, or a
    /// plan.toml (or the folder that holds it). Without PLAN it is the current folder, if that is
    /// one of in<R>.txt. Resuming needs no option: the same command again goes on where it was
    /// stopped.
    #[cfg(feature = "course")]
    Swarm(Box<SwarmArgs>),
    /// Brings files and folders to a folder on every rank, from whoever has them.
    ///
    /// SRC lands in DEST under its last name; `SRC/` means what is in it. What is there already and
    /// right does not move; what differs is repaired block by block. Modes, times, links and empty
    /// folders are kept. The arguments of rank 0 count for all. Running it again resumes.
    #[cfg(feature = "course")]
    Cast(Box<CastArgs>),
    /// Makes every rank or host hold what a plan says, from whoever holds it.
    ///
    /// What can be placed is placed, and the rest is named (exit 1). --check says what would move,
    /// --verify-only whether everything is as the plan says. Running it again resumes.
    #[cfg(feature = "course")]
    Place(Box<PlaceArgs>),
    /// Runs a public tracker: peers of any client learn of each other here.
    ///
    /// HTTP and UDP on one table, over IPv4 and IPv6. It keeps nothing on disk: after a new start,
    /// peers announce themselves again. Ctrl-C stops it.
    #[cfg(feature = "internet")]
    Tracker(TrackerArgs),
    /// Fetches torrents from the internet.
    ///
    /// Over TCP, from the peers that its trackers name. It ends when everything is here and
    /// verified, unless it is told to seed. The same command again goes on where it was stopped.
    #[cfg(feature = "internet")]
    Get(Box<GetArgs>),
    /// Gives torrents to others.
    ///
    /// The data is checked first, unless it is what it was the last time. It goes on until it is
    /// stopped, or a goal is reached.
    #[cfg(feature = "internet")]
    Seed(Box<SeedArgs>),
    /// Prints a trace as a sequence chart.
    ///
    /// Reads a file that `dunlin swarm --trace FILE` wrote: one JSON object a line.
    #[cfg(feature = "course")]
    Trace(TraceArgs),
    /// Lists and removes what unfinished runs left below a folder.
    ///
    /// Leftovers are the `.NAME.dunlin-part` files and `.dunlin` folders of runs that were stopped.
    /// Finished files are never touched. A folder that a run is using is refused.
    Clean(CleanArgs),
    /// Makes a torrent of a file or folder.
    ///
    /// Hashes on all cores. Prints the info-hash; `dunlin show` says the rest.
    #[cfg(feature = "internet")]
    Create(Box<CreateArgs>),
    /// Shows what a torrent says: name, hashes, trackers, files.
    ///
    /// Names are shown as they would be created, with a warning where that is not how they stand in
    /// the torrent.
    #[cfg(feature = "internet")]
    Show(ShowArgs),
    /// Writes a torrent with other trackers, web seeds or comment.
    ///
    /// The info dictionary stays byte for byte, and with it the info-hash, unless --new-hash is
    /// given.
    #[cfg(feature = "internet")]
    Edit(Box<EditArgs>),
    /// Says whether files are what a torrent says, and which are not.
    ///
    /// Hashes everything on all cores. Wrong, missing, short, long and extra files are named, with
    /// their wrong pieces (exit 6).
    #[cfg(feature = "internet")]
    Verify(VerifyArgs),
    /// Prints the magnet link of a torrent.
    ///
    /// With its hashes, its name, its trackers and web seeds. Quote it for the shell.
    #[cfg(feature = "internet")]
    Magnet(MagnetArgs),
    /// Prints the completions of a shell: bash, zsh, fish.
    ///
    /// To be sourced by the shell, or put where it looks for them.
    #[cfg(feature = "manual")]
    Completions(CompletionsArgs),
    /// Prints the manual page, or writes those of all commands to a folder.
    ///
    /// `dunlin man | man -l -` shows it.
    #[cfg(feature = "manual")]
    Man(ManArgs),
    /// Runs one rank of a job, as told on standard input (`-`).
    ///
    /// Started over ssh by rank 0; of no use to anybody else.
    #[cfg(feature = "course")]
    #[command(hide = true)]
    Join(JoinArgs),
    /// Watches the ranks of one host, as told on standard input, and notes which of them dies.
    ///
    /// Started by the ranks themselves; of no use to anybody else.
    #[cfg(feature = "course")]
    #[command(hide = true)]
    Witness,
}

impl Args {
    /// Whether stdout is to hold one JSON document.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            #[cfg(feature = "internet")]
            Command::Create(create) => create.json,
            #[cfg(feature = "internet")]
            Command::Show(show) => show.json,
            #[cfg(feature = "internet")]
            Command::Verify(verify) => verify.json,
            #[cfg(feature = "internet")]
            Command::Tracker(tracker) => tracker.json,
            #[cfg(feature = "internet")]
            Command::Get(get) => get.net.json,
            #[cfg(feature = "internet")]
            Command::Seed(seed) => seed.net.json,
            #[cfg(feature = "course")]
            _ => self.run().is_some_and(|run| run.json),
            #[cfg(not(feature = "course"))]
            _ => false,
        }
    }

    /// Whether it is a run, which is one undertaking of all its processes.
    pub(crate) fn is_run(&self) -> bool {
        #[cfg(feature = "course")]
        return self.run().is_some();
        #[cfg(not(feature = "course"))]
        false
    }

    /// The common options of a run, if it is one.
    #[cfg(feature = "course")]
    fn run(&self) -> Option<&RunArgs> {
        match &self.command {
            Command::Swarm(swarm) => Some(&swarm.run),
            Command::Cast(cast) => Some(&cast.placing.run),
            Command::Place(place) => Some(&place.placing.run),
            _ => None,
        }
    }
}

/// Reads the command line. Every process of a launch gets the same one; the one that `reports`
/// prints help, version or what is wrong.
///
/// # Errors
/// How the program ends instead of running.
pub(crate) fn parse(
    words: impl IntoIterator<Item = OsString>,
    reports: bool,
) -> Result<Args, Exit> {
    let words: Vec<OsString> = words.into_iter().collect();
    Args::try_parse_from(&words).map_err(|error| match reports {
        true => print(error, &words),
        false if error.exit_code() == 0 => Exit::Ok,
        false => Exit::Usage,
    })
}

/// Prints help, version or what is wrong with the command line.
fn print(error: clap::Error, words: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match out::quiet_end(out::usage(&error)) {
            Ok(()) => Exit::Ok,
            Err(failure) => console::fail(&failure, false),
        };
    }
    let error = cleaned(error, words);
    let _ = out::usage(&error);
    if words.iter().any(|word| word == "--json") {
        let failure = Failure::usage(error.render());
        let document = json::failure(failure.exit, failure.message.trim_end());
        let _ = out::document(&document);
    }
    Exit::Usage
}

/// How the parser ends what it says of a wrong command line.
const MORE: &str = "For more information, try '--help'.";

/// The same error about words that can do nothing to a terminal: the parser shows words as they
/// came, and a link or a name that somebody pasted may come from anywhere.
fn cleaned(error: clap::Error, words: &[OsString]) -> clap::Error {
    let lossy: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    if !lossy.iter().any(|word| word.contains(is_disguise)) {
        return error;
    }
    let words = lossy.iter().map(|word| plain(word).into_owned());
    match Args::try_parse_from(words) {
        Err(clean) if clean.kind() == error.kind() => clean,
        // What is wrong is the character itself.
        _ => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
            let text = text.strip_suffix(MORE).unwrap_or(text).trim_end();
            clap::Error::raw(error.kind(), format!("{}\n\n{MORE}\n", plain(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_option_has_a_short_and_a_long_help() {
        for command in Args::command().get_subcommands() {
            for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let long = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{command}: {} has no help", arg.get_id());
                assert!(long.len() > help.len(), "{command}: {} has no long help", arg.get_id());
                assert!(help.len() <= 90, "{command}: {}: {help}", arg.get_id());
            }
        }
    }

    #[cfg(feature = "internet")]
    #[test]
    fn a_wrong_word_is_shown_clean_and_in_the_usual_form() {
        // Of the first nothing is wrong but the character itself.
        for word in ["http://x/a\u{1b}b", "ftp://x\u{202e}"] {
            let words = ["dunlin", "create", "x", "--tracker", word].map(OsString::from);
            let text = cleaned(Args::try_parse_from(&words).unwrap_err(), &words).to_string();
            assert!(text.starts_with("error: invalid value '"), "{text}");
            assert!(text.contains(&format!("'{}'", plain(word))), "{text}");
            assert!(text.ends_with(&format!("\n\n{MORE}\n")), "{text}");
        }
    }

    #[cfg(feature = "course")]
    #[test]
    fn lists_and_repeats_add_up() {
        let words = "dunlin swarm p --no-share 2,3 --no-share 5 --fault mute=1 --fault corrupt=2";
        let args = Args::try_parse_from(words.split(' ')).unwrap();
        let Command::Swarm(swarm) = args.command else { panic!("no swarm") };
        assert_eq!((swarm.no_share.len(), swarm.run.fault.len(), swarm.refresh), (2, 2, 10));
    }
}
