//! From a plan to what each rank of the world is given: its files as they are found, and the place
//! where its outputs go; and where owners disagree, in places of the plan.

use crate::cluster::args::SwarmArgs;
use crate::cluster::plan::{self, LoadedPlan, Scan, ScannedFile};
use crate::console::Console;
use crate::exit::Failure;
use dunlin_base::Rank;
use dunlin_cluster::{FoundFile, PeerConfig, PeerContent, Report};
use dunlin_disk::{Fs, LockError, OutputLock};
use dunlin_engine::cluster::Conflict;
use dunlin_plan::{Have, Pattern, PeerPlan, PeerSource, PlanForm};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most idle patterns that are named: a screen of them; the rest is counted.
const MAX_IDLE: usize = 20;

/// Where the outputs of a run go.
#[derive(Clone, Debug)]
pub(crate) struct OutputFolders {
    form: PlanForm,
    /// The folder of `--out`, or the plan's own for a course plan.
    folder: Option<PathBuf>,
    given: bool,
}

impl OutputFolders {
    /// Decides where outputs go. Touches nothing.
    pub(crate) fn of(args: &SwarmArgs, loaded: &LoadedPlan) -> OutputFolders {
        let form = loaded.plan.form;
        let own = || (form == PlanForm::Course).then(|| loaded.dir.clone());
        OutputFolders { form, folder: args.out.clone().or_else(own), given: args.out.is_some() }
    }

    /// The folder of a rank's outputs; `root` is the folder of its own files.
    pub(crate) fn of_rank(&self, rank: Rank, root: &Path) -> PathBuf {
        match (&self.folder, self.form) {
            (Some(folder), PlanForm::Course) => folder.clone(),
            (Some(folder), _) => folder.join(format!("peer{rank}")),
            (None, _) => root.to_owned(),
        }
    }

    /// Makes the folder of all outputs, and for a course plan locks it: its ranks share it, be they
    /// in this process or processes of one `job`. The ranks of other plans lock their own folders
    /// when the run begins.
    ///
    /// # Errors
    /// If the folder cannot be made or written (exit 5), or another run uses it (exit 4).
    pub(crate) fn prepare(
        &self,
        fs: &Arc<dyn Fs>,
        job: Option<&str>,
    ) -> Result<Option<OutputLock>, Failure> {
        let Some(folder) = &self.folder else { return Ok(None) };
        fs::create_dir_all(folder).map_err(|error| self.unwritable(folder, &error))?;
        if self.form != PlanForm::Course {
            return Ok(None);
        }
        let lock = match job {
            None => OutputLock::acquire(fs, folder),
            Some(job) => OutputLock::acquire_shared(fs, folder, job),
        };
        lock.map(Some).map_err(|error| match error {
            LockError::Held { .. } => Failure::input(error),
            LockError::Io { error, .. } => self.unwritable(folder, &error),
        })
    }

    fn unwritable(&self, folder: &Path, error: &dyn std::fmt::Display) -> Failure {
        let advice = if self.given {
            "give a folder that may be written with --out"
        } else {
            "outputs go beside the plan; give another folder with --out DIR"
        };
        Failure::disk(format!("cannot write outputs to {}: {error}; {advice}", folder.display()))
    }
}

/// The ranks of a plan, with their files as they are on disk now.
///
/// # Errors
/// If a folder cannot be read (exit 5), or holds what no plan may (exit 4).
pub(crate) fn configure(
    loaded: &LoadedPlan,
    outputs: &OutputFolders,
    console: Console,
) -> Result<Vec<PeerConfig>, Failure> {
    let mut idle = IdlePatterns::of(loaded);
    let one = |peer| one(peer, outputs, console, &mut idle);
    let peers = loaded.plan.peers.iter().map(one).collect::<Result<Vec<_>, Failure>>()?;
    idle.warn(console);
    Ok(peers)
}

/// Patterns of `have` that match no file: most likely a slip in a `plan.toml`, which would show
/// only as a wanted file that no rank has.
#[derive(Debug)]
pub(crate) struct IdlePatterns<'a> {
    plan: &'a Path,
    warnings: Vec<String>,
    more: usize,
}

impl<'a> IdlePatterns<'a> {
    /// None yet, of this plan.
    pub(crate) fn of(loaded: &'a LoadedPlan) -> IdlePatterns<'a> {
        IdlePatterns { plan: &loaded.source, warnings: Vec::new(), more: 0 }
    }

    /// Looks at a rank with these names below its root.
    pub(crate) fn look<'n, N: Iterator<Item = &'n str>>(
        &mut self,
        rank: Rank,
        root: &Path,
        have: &Have,
        names: impl Fn() -> N,
    ) {
        let Have::Patterns(patterns) = have else { return };
        for pattern in patterns.iter().filter(|one| !names().any(|name| one.matches(name))) {
            if self.warnings.len() >= MAX_IDLE {
                self.more += 1;
                continue;
            }
            self.warnings.push(format!(
                "{}: rank {rank}: the `have` pattern `{}` matches no file below {}",
                self.plan.display(),
                pattern.as_str().escape_debug(),
                root.display(),
            ));
        }
    }

    /// Says it on stderr.
    pub(crate) fn warn(&self, console: Console) {
        self.warnings.iter().for_each(|text| console.warning(text));
        if self.more > 0 {
            let (plan, more) = (self.plan.display(), self.more);
            console.warning(&format!("{plan}: {more} more `have` patterns match no file"));
        }
    }
}

fn one(
    peer: &PeerPlan,
    outputs: &OutputFolders,
    console: Console,
    idle: &mut IdlePatterns<'_>,
) -> Result<PeerConfig, Failure> {
    let content = match &peer.source {
        PeerSource::Course(input) => PeerContent::Tokens {
            owned: input.owned.clone(),
            wanted: input.wanted.clone(),
            out: outputs.of_rank(peer.rank, Path::new("")),
        },
        PeerSource::Files { root, have, wants } => {
            let root = PathBuf::from(root);
            let dest = outputs.of_rank(peer.rank, &root);
            let found = found(&root, console)?;
            idle.look(peer.rank, &root, have, || found.iter().map(|file| file.name.as_str()));
            let found_dest = if dest == root { Vec::new() } else { self::found(&dest, console)? };
            let (have, wants) = (have.clone(), wants.clone());
            PeerContent::Files { root, dest, found, found_dest, have, wants, placement: None }
        }
    };
    Ok(PeerConfig { rank: peer.rank, content })
}

/// The files below a folder; none if it is not there yet.
///
/// # Errors
/// If it cannot be read (exit 5), or holds what no plan may (exit 4).
pub(crate) fn found(root: &Path, console: Console) -> Result<Vec<FoundFile>, Failure> {
    let Scan { files, warnings } = plan::scan_root(root).map_err(|error| Failure::from(&error))?;
    warnings.iter().for_each(|text| console.warning(text));
    let found = |ScannedFile { name, path, length }: ScannedFile| FoundFile { name, path, length };
    Ok(files.into_iter().map(found).collect())
}

/// Whether a rank with these wants and this `have` offers a file that is found in its root.
pub(crate) fn offers(have: &Have, wants: &[Pattern], name: &str) -> bool {
    match have {
        Have::Everything => true,
        Have::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
        Have::Wanted => wants.iter().any(|pattern| pattern.matches(name)),
    }
}

/// Completes the message of a run that was refused since owners disagree: it names the two places
/// in the plan, as in `in1.txt:3 and in2.txt:3`, or the two files.
pub(crate) fn name_places(report: &mut Report, loaded: &LoadedPlan, outputs: &OutputFolders) {
    let (Some(conflict), Some(text)) = (&report.conflict, &report.refused) else { return };
    let what = conflict.to_string();
    let place = |rank| place(conflict, rank, loaded, outputs);
    let (Some(rest), Some(first), Some(second)) =
        (text.strip_prefix(&what), place(conflict.first), place(conflict.second))
    else {
        return;
    };
    report.refused = Some(format!("{what}, see {first} and {second}{rest}"));
}

fn place(
    conflict: &Conflict,
    rank: Rank,
    loaded: &LoadedPlan,
    outputs: &OutputFolders,
) -> Option<String> {
    let name = &conflict.name;
    let peer = loaded.plan.peers.iter().find(|peer| peer.rank == rank)?;
    let path = match &peer.source {
        PeerSource::Course(_) => {
            let (path, line) = plan::course_place(&loaded.dir, rank, name, conflict.piece);
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            return Some(format!("{}{line}", path.display()));
        }
        PeerSource::Files { root, have, wants } => {
            let (root, own) = (Path::new(root), Path::new(root).join(name));
            let stands = fs::symlink_metadata(&own).is_ok_and(|metadata| metadata.is_file());
            let owned = stands && offers(have, wants, name);
            let other = outputs.of_rank(rank, root).join(name);
            let place = if owned { own } else { other };
            // On the disk of another machine it stands, but not here.
            fs::symlink_metadata(&place).ok().map(|_| place)?
        }
    };
    Some(path.display().to_string())
}
