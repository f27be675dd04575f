//! The command lines of `swarm` and `join`; those of `cast` and `place` are in `place`, and what
//! all of them have in common is in `run`.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

pub(crate) mod place;
pub(crate) mod run;

use super::parsers::{self, Ranks};
use crate::exit::Failure;
use clap::Args as ClapArgs;
use dunlin_engine::cluster::{OnConflict, TrackerMap, TrackerOrder};
use dunlin_engine::config::RefreshScope;
use dunlin_engine::swarm::choker::ChokerKind;
use dunlin_plan::PlanForm;
use run::RunArgs;
use std::path::{Path, PathBuf};

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
    #[arg(long, value_name = "HOW", value_parser = parsers::on_conflict, help_heading = "Outputs")]
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
