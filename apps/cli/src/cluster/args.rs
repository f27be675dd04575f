//! The command lines of `swarm` and `join`, and the options that all runs have in common; those of
//! `cast` and `place` alone are in `place`.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

pub(crate) mod place;

use super::parsers::{self as cluster_parsers, Fabric, Ranks};
use crate::exit::Failure;
use crate::parsers;
use clap::Args as ClapArgs;
use dunlin_cluster::Fault;
use dunlin_engine::cluster::{OnConflict, TrackerMap, TrackerOrder};
use dunlin_engine::config::{PieceOrder, Profile, RefreshScope, SourceOrder};
use dunlin_engine::swarm::choker::ChokerKind;
use dunlin_plan::PlanForm;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Options of `dunlin swarm`.
#[derive(Debug, ClapArgs)]
pub(crate) struct SwarmArgs {
    /// The plan: who has which files, who wants which [default: the folder, if of in<R>.txt].
    ///
    /// A folder of in<R>.txt, a folder of peer<R>/ directories, a plan.toml, or a folder with one.
    /// Without PLAN the current folder is taken, if it is a folder of in<R>.txt.
    #[arg(value_name = "PLAN")]
    pub(crate) plan: Option<PathBuf>,

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
    #[arg(long, value_name = "HOW", value_parser = cluster_parsers::on_conflict, help_heading = "Outputs")]
    pub(crate) on_conflict: Option<OnConflict>,

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

    /// Writes what each peer has at the end to DIR/peer<R>.json.
    ///
    /// {"name": ["hash", …]}. The folder is created.
    #[arg(long, value_name = "DIR", help_heading = "What happened")]
    pub(crate) dump_peers: Option<PathBuf>,

    /// What all runs have in common.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Options of `dunlin join`.
#[derive(Debug, ClapArgs)]
pub(crate) struct JoinArgs {
    /// Where the job is told: only `-`, standard input.
    ///
    /// One line of JSON with everything that a rank needs to know, its key too.
    #[arg(value_name = "-", value_parser = ["-"])]
    pub(crate) from: String,
}

impl SwarmArgs {
    /// The plan as it was given, or the current folder.
    pub(crate) fn plan(&self) -> &Path {
        self.plan.as_deref().unwrap_or(Path::new("."))
    }

    /// Refuses the current folder as a plan that nobody asked for, unless it has the course format.
    ///
    /// # Errors
    /// If no plan was given and this is the form of the current folder (exit 2).
    pub(crate) fn refuse_implied(&self, form: PlanForm) -> Result<(), Failure> {
        if self.plan.is_some() || form == PlanForm::Course {
            return Ok(());
        }
        Err(Failure::usage(
            "no PLAN was given, and the current folder is a plan, but not one of in<R>.txt, which \
             alone is run without being asked for; to run it, give PLAN: dunlin swarm .",
        ))
    }
}

/// How any run goes, and what is told of it.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// How a peer works: bittorrent, cluster, course [default: by the command and the plan].
    ///
    /// A bundle of defaults that the options below override. `bittorrent` (the default of swarm for
    /// real files): bitfields and HAVE, many requests in flight, rarest, fastest. `cluster` (the
    /// default of cast and place): the same among ranks that help each other: sources give first
    /// what the swarm has fewest copies of. `course` (the default for folders of in<R>.txt): files
    /// one after another, one request in flight, every member of the swarm may be asked, a refresh
    /// is answered before the next request, sequential, round-robin.
    #[arg(long, value_name = "NAME", help_heading = "Policies")]
    pub(crate) profile: Option<Profile>,

    /// Which piece next: rarest, sequential, random [default: by the profile].
    ///
    /// `rarest`: the piece that the fewest peers have. `sequential`: in order. `random`: in an
    /// order drawn from the seed. With profile course and tracker map swarm nobody knows what is
    /// rarest.
    #[arg(long, value_name = "ORDER", help_heading = "Policies")]
    pub(crate) pieces: Option<PieceOrder>,

    // Every policy states its name and what it does itself.
    #[arg(long, value_name = "ORDER", help_heading = "Policies", help = sources_help(),
          long_help = sources_long_help())]
    pub(crate) sources: Option<SourceOrder>,

    /// Bytes a piece: a power of two from 16KiB to 64MiB [default: by the file's length].
    ///
    /// The default is the largest power of two from 16KiB to 4MiB that gives at least 512 pieces.
    /// Token files (course plans) have one token a piece, and this option changes nothing.
    #[arg(long, value_name = "SIZE", value_parser = parsers::piece_size, help_heading = "Limits")]
    pub(crate) piece_size: Option<u32>,

    /// The longest block between ranks: a power of two from 128KiB to 1MiB [default: 512KiB].
    ///
    /// What one request asks for; less where pieces are shorter. Of several processes the smallest
    /// counts for all.
    #[arg(long, value_name = "SIZE", value_parser = cluster_parsers::block_size, help_heading = "Limits")]
    pub(crate) block_size: Option<u32>,

    /// Memory for payload in the whole process, at least 1MiB.
    ///
    /// Receiving, serving and hashing draw on this one budget.
    #[arg(long, value_name = "SIZE", value_parser = parsers::memory, default_value = "256MiB",
          help_heading = "Limits")]
    pub(crate) memory: u64,

    /// How long the start waits for a peer that shows no progress.
    ///
    /// A peer that has not registered by then counts as failed, by name, and the others go on. Like
    /// 60s, 500ms, 2m, or plain seconds.
    #[arg(long, value_name = "TIME", value_parser = parsers::duration, default_value = "60s",
          help_heading = "Limits")]
    pub(crate) start_timeout: Duration,

    /// How long a file may wait for a source that can give it.
    ///
    /// After that the file fails with that reason; so does a file on a full disk.
    #[arg(long, value_name = "TIME", value_parser = parsers::duration, default_value = "60s",
          help_heading = "Limits")]
    pub(crate) stall_timeout: Duration,

    /// How the ranks come together.
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,

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

/// The names of all source orders.
fn sources_help() -> String {
    let names: Vec<&str> = SourceOrder::ALL.iter().map(|order| order.name()).collect();
    format!("From whom: {}", names.join(", "))
}

/// What each of them chooses.
fn sources_long_help() -> String {
    let sentence = |order: &SourceOrder| format!(" `{order}`: {}.", order.summary());
    let sentences: String = SourceOrder::ALL.iter().map(sentence).collect();
    format!("{}.\n\nThe default is the profile's.{sentences}", sources_help())
}

/// How the ranks come together, and over what they talk.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct LaunchArgs {
    /// Over what the ranks talk: auto, memory, virtual, mpi, tcp.
    ///
    /// `memory`: threads in this process. `virtual`: all ranks on one thread, in virtual time with
    /// delays drawn from the seed; the same seed gives the same run. `mpi`: one rank a process,
    /// started by a launcher like `mpirun -np 5`; rank 0 is the tracker, and every peer reads its
    /// own part of the plan. `tcp`: one rank a process, too, over sealed TCP links; started by any
    /// launcher, or by hand with --rank and --size. It stands the death of any rank and takes in
    /// late ones. `auto` is mpi if a launcher started more than one process, otherwise memory.
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = "Launch")]
    pub(crate) fabric: Fabric,

    /// The MPI library to load [default: the launcher's, wherever the system finds it].
    ///
    /// A file like /opt/mpi/lib/libmpi.so.40. It must be of the MPI whose launcher started the
    /// processes. Only this file is tried then. Nothing is loaded over other fabrics.
    #[arg(long, value_name = "PATH", help_heading = "Launch")]
    pub(crate) mpi_lib: Option<PathBuf>,

    /// This process's rank, with --fabric tcp [default: the launcher's].
    ///
    /// From 0 to the size less 1. Rank 0 hosts the tracker.
    #[arg(long, value_name = "R", help_heading = "Launch")]
    pub(crate) rank: Option<u32>,

    /// How many ranks the job has, with --fabric tcp [default: the launcher's].
    ///
    /// Rank 0 counts, too. The same at every rank.
    #[arg(long, value_name = "N", help_heading = "Launch")]
    pub(crate) size: Option<u32>,

    /// Where rank 0 is, with --fabric tcp [default: as the key file says].
    ///
    /// HOST:PORT. Rank 0 listens at that port. Without it rank 0 takes any port, and writes into
    /// the key file where it can be reached.
    #[arg(long, value_name = "HOST:PORT", help_heading = "Launch")]
    pub(crate) root: Option<String>,

    /// Where this process listens, with --fabric tcp [default: everywhere, at any port].
    ///
    /// ADDRESS:PORT, like 10.0.0.7:0; port 0 is any. The address is the one that the other ranks
    /// use, so it also chooses the network.
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Launch")]
    pub(crate) listen: Option<SocketAddr>,

    /// The file with the job's key, with --fabric tcp; `-` is standard input.
    ///
    /// In a folder that all ranks see. Rank 0 makes it, readable by its owner alone, the others
    /// wait for it, and it goes with the job. Whoever has the key can take part. From standard
    /// input comes one line: {"key": "64 hexadecimal digits", "root": ["host:port"]}.
    #[arg(long, value_name = "FILE", help_heading = "Launch")]
    pub(crate) key_file: Option<PathBuf>,
}
