//! Finds out what form a PLAN has, reads its files with a bound on each, and hands them to the
//! parsers of `dunlin-plan`. Looks at what lies below a peer's folder, and makes test data.

mod form;
mod generate;
mod own;
mod place;
mod scan;

pub(crate) use generate::{generate_all, is_generated};
pub(crate) use own::{OwnPart, glance, load_own};
pub(crate) use place::{PlaceFile, read_place};
pub(crate) use scan::{Scan, ScannedFile, scan_root};

use crate::exit::{Exit, Failure};
use dunlin_base::{Rank, format_size};
use dunlin_plan::{
    Have, PeerPlan, PeerSource, Plan, PlanError, PlanForm, missing_rank, parse_course, parse_toml,
    parse_wants, token_line,
};
use form::{Form, Listing};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The largest `in<R>.txt` in bytes: it is held in memory as a whole.
const MAX_COURSE: u64 = 1 << 30;

/// The largest `plan.toml` and `wants` in bytes: 16 MiB are hundreds of thousands of lines.
const MAX_TEXT: u64 = 16 << 20;

/// The text file with a peer's wishes in a `peer<R>/` folder. Never data.
const WANTS: &str = "wants";

/// The name of the third form's file.
const PLAN_TOML: &str = "plan.toml";

/// A plan and the folder it stands in.
#[derive(Clone, Debug)]
pub(crate) struct LoadedPlan {
    /// The plan.
    pub(crate) plan: Plan,
    /// What it was read from: a `plan.toml`, or the folder of another plan.
    pub(crate) source: PathBuf,
    /// The folder that `generate` paths are relative to, and where a course plan's outputs go.
    pub(crate) dir: PathBuf,
}

/// Why a plan was not loaded. All but `Io` and `Interrupted` are faults of the input.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum LoadError {
    /// There is nothing at this path.
    #[error(
        "{}: expected a folder or a plan.toml, found nothing there; check the path",
        path.display()
    )]
    Absent {
        /// The path.
        path: PathBuf,
    },
    /// Something that has none of the three forms.
    #[error(
        "{}: expected a folder with in1.txt, peer1/ or plan.toml, or a plan.toml itself, \
         found {found}; give the folder of a plan",
        path.display()
    )]
    NotAPlan {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// No plan that can be placed.
    #[error(
        "{}: expected a plan.toml or the folder that holds it, found {found}; give the path of one",
        path.display()
    )]
    NoPlace {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// Two of the three forms in one folder.
    #[error(
        "{}: expected one form of a plan, found {first} and {second}; \
         move one of them to another folder",
        path.display()
    )]
    TwoForms {
        /// The folder.
        path: PathBuf,
        /// A file of the first form.
        first: String,
        /// A file of the second form.
        second: String,
    },
    /// A rank is missing.
    #[error(
        "{}: expected ranks from 1 without a gap, found {next} and no {missing}; \
         add {missing} or renumber",
        path.display()
    )]
    Gap {
        /// The folder.
        path: PathBuf,
        /// The file or folder of the lowest rank that is missing.
        missing: String,
        /// The one of the lowest rank above it.
        next: String,
    },
    /// The input of one rank is not there, in a job in which every rank reads its own.
    #[error(
        "{}: expected {expected}, found {found}; put it where this rank runs",
        path.display()
    )]
    NoPart {
        /// The plan: its folder or its `plan.toml`.
        path: PathBuf,
        /// What the rank looked for.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// A file over its limit.
    #[error(
        "{}: expected at most {}, found {}; split it or check that it is the right file",
        path.display(), format_size(*limit), format_size(*found)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
        /// Its length in bytes.
        found: u64,
    },
    /// A folder whose path is no UTF-8.
    #[error("{}: expected a path in UTF-8, found other bytes; rename the folder", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// More files below one folder than a run can register.
    #[error(
        "{}: expected at most {limit} files below it, found more; pack them or split the plan",
        path.display()
    )]
    TooManyFiles {
        /// The root of the peer.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// Something else stands where test data should be made.
    #[error(
        "{}: expected test data of {} or nothing, found {found}; \
         remove it or correct its [[generate]]",
        path.display(), format_size(*expected)
    )]
    Occupied {
        /// The path.
        path: PathBuf,
        /// The length in bytes that the plan asks for.
        expected: u64,
        /// What is there.
        found: String,
    },
    /// The system refused.
    #[error("{}: {doing} failed: {source}; check the disk and the permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as in "reading".
        doing: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The caller asked to stop while test data was made.
    #[error("{}: interrupted while it was made; the next run makes it afresh", path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// A fault in a file of the plan, with its line.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl LoadError {
    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> LoadError {
        let path = path.to_owned();
        move |source| LoadError::Io { path, doing, source }
    }
}

impl From<&LoadError> for Failure {
    fn from(error: &LoadError) -> Failure {
        let exit = match error {
            LoadError::Io { .. } => Exit::Disk,
            LoadError::Interrupted { .. } => Exit::Interrupted,
            _ => Exit::Input,
        };
        Failure { exit, message: error.to_string() }
    }
}

/// Reads the plan at `path`: a folder of `in<R>.txt`, a folder of `peer<R>/`, a folder with a
/// `plan.toml`, or a `plan.toml` itself. Moves and makes nothing.
///
/// # Errors
/// If there is nothing, none or two of the forms, a rank is missing, a file is over its limit or
/// cannot be read, or a file has a fault, named with its line.
pub(crate) fn load(path: &Path) -> Result<LoadedPlan, LoadError> {
    let listing = match look(path)? {
        PlanPath::File(file) => return load_toml(&file),
        PlanPath::Folder(listing) => listing,
    };
    match listing.form(path)? {
        Form::Toml => load_toml(&path.join(PLAN_TOML)),
        Form::Course => {
            let ranks = listing.course;
            check_gap(path, &ranks, |rank| format!("in{rank}.txt"))?;
            load_peers(path, PlanForm::Course, &ranks, listing.warnings, course_source)
        }
        Form::Folders => {
            let ranks = listing.folders;
            check_gap(path, &ranks, |rank| format!("peer{rank}/"))?;
            load_peers(path, PlanForm::Folders, &ranks, listing.warnings, folder_source)
        }
    }
}

/// What a PLAN is, before its form is known.
enum PlanPath {
    /// A `plan.toml` of whatever name.
    File(PathBuf),
    /// A folder, listed.
    Folder(Listing),
}

fn look(path: &Path) -> Result<PlanPath, LoadError> {
    let metadata = fs::metadata(path).map_err(|wrong| match wrong.kind() {
        io::ErrorKind::NotFound => LoadError::Absent { path: path.to_owned() },
        _ => LoadError::io(path, "looking at it")(wrong),
    })?;
    if metadata.is_file() && path.extension().is_some_and(|extension| extension == "toml") {
        return Ok(PlanPath::File(path.to_owned()));
    }
    if !metadata.is_dir() {
        let found = if metadata.is_file() { "another file" } else { "a device or socket" };
        return Err(LoadError::NotAPlan { path: path.to_owned(), found: found.to_owned() });
    }
    Listing::read(path).map(PlanPath::Folder)
}

fn check_gap(
    path: &Path,
    ranks: &BTreeMap<Rank, PathBuf>,
    name: impl Fn(Rank) -> String,
) -> Result<(), LoadError> {
    match missing_rank(ranks.keys().copied()) {
        None => Ok(()),
        Some((missing, next)) => {
            let (missing, next) = (name(missing), name(next));
            Err(LoadError::Gap { path: path.to_owned(), missing, next })
        }
    }
}

fn load_peers(
    dir: &Path,
    form: PlanForm,
    ranks: &BTreeMap<Rank, PathBuf>,
    warnings: Vec<String>,
    source: impl Fn(&Path) -> Result<PeerSource, LoadError>,
) -> Result<LoadedPlan, LoadError> {
    let peer =
        |(rank, path): (&Rank, &PathBuf)| Ok(PeerPlan { rank: *rank, source: source(path)? });
    let peers = ranks.iter().map(peer).collect::<Result<Vec<_>, LoadError>>()?;
    let plan = Plan { form, peers, generate: Vec::new(), warnings };
    Ok(LoadedPlan { plan, source: dir.to_owned(), dir: dir.to_owned() })
}

/// The file of a rank in a course plan's folder, and the line of a token of an owned file in it, or
/// of the file's name. No line if the file has changed or cannot be read any more.
pub(crate) fn course_place(
    dir: &Path,
    rank: Rank,
    name: &str,
    piece: Option<u32>,
) -> (PathBuf, Option<usize>) {
    let path = dir.join(format!("in{rank}.txt"));
    let bytes = read(&path, MAX_COURSE).unwrap_or_default();
    let line = token_line(&bytes, name, piece.map(|piece| piece as usize));
    (path, line)
}

fn course_source(path: &Path) -> Result<PeerSource, LoadError> {
    let bytes = read(path, MAX_COURSE)?;
    Ok(PeerSource::Course(parse_course(&path.display().to_string(), &bytes)?))
}

fn folder_source(path: &Path) -> Result<PeerSource, LoadError> {
    let root = utf8(path)?;
    let file = path.join(WANTS);
    let wants = match fs::metadata(&file) {
        Ok(metadata) if metadata.is_file() => {
            parse_wants(&file.display().to_string(), &read(&file, MAX_TEXT)?)?
        }
        Ok(_) => Vec::new(),
        Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(wrong) => return Err(LoadError::io(&file, "looking at it")(wrong)),
    };
    Ok(PeerSource::Files { root, have: Have::Everything, wants })
}

fn load_toml(path: &Path) -> Result<LoadedPlan, LoadError> {
    let file = path.display().to_string();
    let toml = parse_toml(&file, &read(path, MAX_TEXT)?)?;
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let base = utf8(dir)?;
    let plan = Plan::from_toml(&file, toml, |root| match root {
        "" => base.clone(),
        _ => format!("{}/{root}", base.trim_end_matches('/')),
    })?;
    Ok(LoadedPlan { plan, source: path.to_owned(), dir: dir.to_owned() })
}

fn utf8(path: &Path) -> Result<String, LoadError> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(LoadError::NotUtf8 { path: path.to_owned() }),
    }
}

/// Reads a regular file of at most `limit` bytes, even if it grows meanwhile.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let too_large = |found| LoadError::TooLarge { path: path.to_owned(), limit, found };
    let mut file = File::open(path).map_err(LoadError::io(path, "opening it"))?;
    let length = file.metadata().map_err(LoadError::io(path, "looking at it"))?.len();
    if length > limit {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    let read = file.by_ref().take(limit + 1).read_to_end(&mut bytes);
    match read.map_err(LoadError::io(path, "reading it"))? as u64 {
        found if found > limit => Err(too_large(found)),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
