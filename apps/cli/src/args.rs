//! The command line: every command, every option, its short help (`-h`) and its long one
//! (`--help`).
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::exit::{Exit, Failure};
use crate::values::{self, Fabric, Ranks};
use crate::{json, launch, out};
use clap::{Args as ClapArgs, Parser, Subcommand, error::ErrorKind};
use dunlin_cluster::Fault;
use dunlin_engine::choker::ChokerKind;
use dunlin_engine::config::{PieceOrder, Profile, RefreshScope, SourceOrder};
use dunlin_tracker::{OnConflict, TrackerMap, TrackerOrder};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    /// plan.toml (or the folder that holds it). Resuming needs no option: the same command again
    /// goes on where it was stopped.
    Swarm(Box<SwarmArgs>),
    /// Prints a trace as a sequence chart.
    ///
    /// Reads a file that `dunlin swarm --trace FILE` wrote: one JSON object a line.
    Trace(TraceArgs),
    /// Lists and removes what unfinished runs left below a folder.
    ///
    /// Leftovers are the `.NAME.dunlin-part` files and `.dunlin` folders of runs that were stopped.
    /// Finished files are never touched. A folder that a run is using is refused.
    Clean(CleanArgs),
    /// Watches the ranks of one host, as told on standard input, and notes which of them dies.
    ///
    /// Started by the ranks themselves; of no use to anybody else.
    #[command(hide = true)]
    Witness,
}

/// Options of `dunlin swarm`.
#[derive(Debug, ClapArgs)]
pub(crate) struct SwarmArgs {
    /// The plan: who has which files and who wants which.
    ///
    /// A folder of in<R>.txt, a folder of peer<R>/ directories, a plan.toml, or a folder with one.
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,

    /// Where outputs go [default: PLAN for a course plan, otherwise the peers' own folders].
    ///
    /// A course plan writes OUT/client<R>_<name>, the others OUT/peer<R>/<name>. The folder is
    /// created.
    #[arg(long, value_name = "DIR", help_heading = "Outputs")]
    pub(crate) out: Option<PathBuf>,

    /// Replaces complete files of other content that stand where wanted files go.
    ///
    /// Without it such a file is a refusal (exit 4) before anything moves. It is replaced only at
    /// the end, by the verified file. An owner's own copy of a file that it wants is replaced too,
    /// if it differs from what owners that do not want it agree on.
    #[arg(long, help_heading = "Outputs")]
    pub(crate) force: bool,

    /// Says what would move, and moves nothing.
    ///
    /// Makes no file and no folder either. Test data that the plan would generate is named and
    /// counted by name and size.
    #[arg(long, help_heading = "Outputs")]
    pub(crate) check: bool,

    /// What if owners disagree about a file: refuse, lowest-rank [default: refuse].
    ///
    /// `refuse`: nothing moves, exit 4. `lowest-rank`: the content of the lowest rank counts and
    /// the other ranks are no owners.
    #[arg(long, value_name = "HOW", value_parser = values::on_conflict, help_heading = "Outputs")]
    pub(crate) on_conflict: Option<OnConflict>,

    /// How a peer works: bittorrent, course [default: by the plan].
    ///
    /// A bundle of defaults that the options below override. `bittorrent` (the default for real
    /// files): bitfields and HAVE, many requests in flight, rarest, fastest. `course` (the default
    /// for folders of in<R>.txt): files one after another, one request in flight, every member of
    /// the swarm may be asked, sequential, round-robin.
    #[arg(long, value_name = "NAME", help_heading = "Policies")]
    pub(crate) profile: Option<Profile>,

    /// Which piece next: rarest, sequential, random [default: by the profile].
    ///
    /// `rarest`: the piece that the fewest peers have. `sequential`: in order. `random`: in an
    /// order drawn from the seed. With profile course and tracker map swarm nobody knows what is rarest.
    #[arg(long, value_name = "ORDER", help_heading = "Policies")]
    pub(crate) pieces: Option<PieceOrder>,

    /// From whom: fastest, round-robin, random, two-choices, least-busy, least-loaded.
    ///
    /// The default is the profile's. `fastest`: whoever will have answered first. `round-robin`:
    /// one after another. `random`: any. `two-choices`: the less loaded of two. `least-busy`: the
    /// first of the tracker's order by reported load, until the next refresh. `least-loaded`: the
    /// least reported load plus what we asked of it since.
    #[arg(long, value_name = "ORDER", help_heading = "Policies")]
    pub(crate) sources: Option<SourceOrder>,

    /// Order of a swarm's members in answers: arrival, least-busy, random [default: arrival].
    ///
    /// Whatever the order, the rank that asks stands last.
    #[arg(long, value_name = "ORDER", help_heading = "Policies")]
    pub(crate) tracker_order: Option<TrackerOrder>,

    /// What the tracker knows: swarm, pieces [default: swarm].
    ///
    /// `swarm`: who takes part in a file. `pieces`: who has which piece.
    #[arg(long, value_name = "MAP", help_heading = "Policies")]
    pub(crate) tracker_map: Option<TrackerMap>,

    /// Asks for the fresh swarm after every N verified pieces; 0 means never.
    ///
    /// When nobody in the swarm gave a wanted piece, a peer asks at once, whatever N is.
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Policies")]
    pub(crate) refresh: u32,

    /// What a refresh asks for: file, all [default: file].
    ///
    /// `file`: the swarm of the file at hand. `all`: the swarms of all unfinished files.
    #[arg(long, value_name = "SCOPE", help_heading = "Policies")]
    pub(crate) refresh_scope: Option<RefreshScope>,

    /// Whom to serve: cooperative, tit-for-tat [default: cooperative].
    ///
    /// `cooperative`: everybody at once. `tit-for-tat`: those who give most, and one optimistic
    /// slot; for studies.
    #[arg(long, value_name = "NAME", help_heading = "Policies")]
    pub(crate) choker: Option<ChokerKind>,

    /// Peers that download and serve nobody; repeatable, or a list like 2,3 or 5-16.
    ///
    /// Such a peer is a leecher whatever it has.
    #[arg(long, value_name = "R", help_heading = "Policies")]
    pub(crate) no_share: Vec<Ranks>,

    /// Bytes a piece: a power of two from 16KiB to 64MiB [default: by the file's length].
    ///
    /// The default is the largest power of two from 16KiB to 4MiB that gives at least 512 pieces.
    /// Token files (course plans) have one token a piece, and this option changes nothing.
    #[arg(long, value_name = "SIZE", value_parser = values::piece_size, help_heading = "Limits")]
    pub(crate) piece_size: Option<u32>,

    /// The longest block between ranks: a power of two from 128KiB to 1MiB [default: 512KiB].
    ///
    /// What one request asks for; less where pieces are shorter. Of several processes the smallest
    /// counts for all.
    #[arg(long, value_name = "SIZE", value_parser = values::block_size, help_heading = "Limits")]
    pub(crate) block_size: Option<u32>,

    /// Memory for payload in the whole process, at least 1MiB.
    ///
    /// Receiving, serving and hashing draw on this one budget.
    #[arg(long, value_name = "SIZE", value_parser = values::memory, default_value = "256MiB",
          help_heading = "Limits")]
    pub(crate) memory: u64,

    /// How long the start waits for a peer that shows no progress.
    ///
    /// A peer that has not registered by then counts as failed, by name, and the others go on. Like
    /// 60s, 500ms, 2m, or plain seconds.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s",
          help_heading = "Limits")]
    pub(crate) start_timeout: Duration,

    /// How long a file may wait for a source that can give it.
    ///
    /// After that the file fails with that reason; so does a file on a full disk.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s",
          help_heading = "Limits")]
    pub(crate) stall_timeout: Duration,

    /// Over what the ranks talk: auto, memory, virtual, mpi.
    ///
    /// `memory`: threads in this process. `virtual`: all ranks on one thread, in virtual time with
    /// delays drawn from the seed; the same seed gives the same run. `mpi`: one rank a process,
    /// started by a launcher like `mpirun -np 5`; rank 0 is the tracker, and every peer reads its
    /// own part of the plan. `auto` is mpi if a launcher started more than one process, otherwise
    /// memory.
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = "Launch")]
    pub(crate) fabric: Fabric,

    /// The MPI library to load [default: the launcher's, wherever the system finds it].
    ///
    /// A file like /opt/mpi/lib/libmpi.so.40. It must be of the MPI whose launcher started the
    /// processes. Only this file is tried then. Nothing is loaded over other fabrics.
    #[arg(long, value_name = "PATH", help_heading = "Launch")]
    pub(crate) mpi_lib: Option<PathBuf>,

    /// The seed of every random choice [default: drawn, or 1 with --fabric virtual].
    ///
    /// A number from 0 to 18446744073709551615.
    #[arg(long, value_name = "N", help_heading = "Studies")]
    pub(crate) seed: Option<u64>,

    /// Makes a peer misbehave; repeatable.
    ///
    /// `corrupt=R`: R registers true hashes and flips one byte in every block it serves.
    /// `die=R@PCT`: R stops without a word when it holds PCT of what it wants; if it wants nothing,
    /// when it has served PCT of its bytes. `refuse=R:PCT`: that share of requests to R is
    /// rejected. `slow=R:RATE`: all that R uploads together, like 1MB. `mute=R`: R never registers.
    #[arg(long, value_name = "FAULT", help_heading = "Studies")]
    pub(crate) fault: Vec<Fault>,

    /// Writes every message to FILE, one JSON object a line.
    ///
    /// `dunlin trace FILE` prints it as a sequence chart.
    #[arg(long, value_name = "FILE", help_heading = "What happened")]
    pub(crate) trace: Option<PathBuf>,

    /// Writes the tracker's table at shutdown to FILE, as JSON.
    ///
    /// {"name": [["hash", [ranks]], …]}: the swarm's members in each row with tracker map swarm,
    /// the holders of that piece with tracker map pieces.
    #[arg(long, value_name = "FILE", help_heading = "What happened")]
    pub(crate) dump_tracker: Option<PathBuf>,

    /// Writes what each peer has at the end to DIR/peer<R>.json.
    ///
    /// {"name": ["hash", …]}. The folder is created.
    #[arg(long, value_name = "DIR", help_heading = "What happened")]
    pub(crate) dump_peers: Option<PathBuf>,

    /// Prints one JSON document on stdout instead of the table.
    ///
    /// It has `schema` 1, also on failure: then `ok` is false and `error` has `kind` and `message`.
    #[arg(long, help_heading = "What happened")]
    pub(crate) json: bool,

    /// No progress and no table; errors are always said.
    ///
    /// A document of --json is printed all the same.
    #[arg(short, long, help_heading = "What happened")]
    pub(crate) quiet: bool,
}

/// Options of `dunlin trace`.
#[derive(Debug, ClapArgs)]
pub(crate) struct TraceArgs {
    /// The trace.
    ///
    /// A file that `dunlin swarm --trace FILE` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

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

impl Args {
    /// Whether stdout is to hold one JSON document.
    pub(crate) fn json(&self) -> bool {
        matches!(&self.command, Command::Swarm(swarm) if swarm.json)
    }
}

/// Reads the command line. Every process of a launch gets the same one, and one of them `speaks`.
///
/// # Errors
/// The exit code, after help, version or what is wrong has been printed.
pub(crate) fn parse(
    words: impl IntoIterator<Item = OsString>,
    speaks: bool,
) -> Result<Args, ExitCode> {
    let words: Vec<OsString> = words.into_iter().collect();
    Args::try_parse_from(&words).map_err(|error| {
        if !speaks {
            let wrong = error.exit_code() != 0;
            return launch::end_silently(if wrong { Exit::Usage } else { Exit::Ok });
        }
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return match out::quiet_end(error.print()) {
                Ok(()) => Exit::Ok.into(),
                Err(failure) => failure.report(false),
            };
        }
        let _ = error.print();
        if words.iter().any(|word| word == "--json") {
            let failure = Failure::usage(error.render());
            let document = json::failure(failure.exit, failure.message.trim_end());
            let _ = out::document(&document);
        }
        Exit::Usage.into()
    })
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

    #[test]
    fn lists_and_repeats_add_up() {
        let words = "dunlin swarm p --no-share 2,3 --no-share 5 --fault mute=1 --fault corrupt=2";
        let args = Args::try_parse_from(words.split(' ')).unwrap();
        let Command::Swarm(swarm) = args.command else { panic!("no swarm") };
        assert_eq!((swarm.no_share.len(), swarm.fault.len(), swarm.refresh), (2, 2, 10));
    }
}
