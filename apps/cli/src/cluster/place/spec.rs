//! What every rank of a `cast` or `place` is sent: the arguments of rank 0, the folder that they
//! start from, and the plan as rank 0 read it. Nothing of a rank's own command line or folder
//! counts.

use crate::args::{Args, Command};
use crate::cluster::args::place::{CastArgs, PlaceArgs, PlacingArgs};
use crate::cluster::parsers::{Racks, Who, same_host};
use crate::cluster::plan::{self, PlaceFile};
use crate::exit::Failure;
use clap::Parser;
use dunlin_base::Rank;
use dunlin_plan::{Pattern, TomlPlan, expand_hosts, parse_place};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version that all ranks of a run must have: their messages are not meant to last.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The reason of a wanted name for which no rank has anything.
pub(crate) const NOBODY: &str = "nobody has it";

/// What is to be done, the same for every rank.
#[derive(Clone, Debug)]
pub(crate) struct JobSpec {
    /// What `cast` and `place` have in common.
    pub(crate) options: PlacingArgs,
    /// What only one of them has.
    pub(crate) task: Task,
    message: JobMessage,
}

/// The job as rank 0 sends it to the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct JobMessage {
    /// The version of rank 0.
    dunlin: String,
    /// The words of its command line.
    words: Vec<String>,
    /// Its current folder.
    cwd: String,
    /// Labels of racks, by host.
    racks: Vec<(String, String)>,
    /// The plan, if there is one.
    plan: Option<PlanMessage>,
    /// Rank 0 only gives: it has started the others on hosts that are not its own.
    #[serde(default)]
    source_only: bool,
}

impl JobMessage {
    fn new(
        words: Vec<String>,
        cwd: &Path,
        plan: Option<PlaceFile>,
        racks: Vec<(String, String)>,
    ) -> Result<JobMessage, Failure> {
        let plan = plan.map(|plan| PlanMessage {
            file: plan.file,
            dir: plan.dir.display().to_string(),
            text: String::from_utf8_lossy(&plan.text).into_owned(),
        });
        let (dunlin, cwd) = (VERSION.to_owned(), utf8(cwd)?.to_owned());
        Ok(JobMessage { dunlin, words, cwd, racks, plan, source_only: false })
    }
}

/// A plan as rank 0 read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlanMessage {
    file: String,
    dir: String,
    text: String,
}

/// What a message of any version has.
#[derive(Deserialize)]
struct MessageVersion {
    dunlin: String,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Everything at the sources into one folder.
    Cast(Cast),
    /// What a plan asks for.
    Place(Box<Place>),
}

/// Everything at the sources into one folder.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    /// The sources, as they were given.
    pub(crate) sources: Vec<CastSource>,
    /// The folder, absolute, with `{rank}` and `{host}` still in it.
    pub(crate) dest: String,
    /// Who gets it, if not all.
    pub(crate) to: Option<Who>,
    /// Who gives it, if not all.
    pub(crate) from: Option<Who>,
}

/// One SRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CastSource {
    /// As a person wrote it.
    pub(crate) given: String,
    /// Where it is, absolute, with `{rank}` and `{host}` still in it.
    pub(crate) path: String,
    /// The name that it lands under, with `{rank}` and `{host}` still in it; empty if what is in it
    /// lands.
    pub(crate) name: String,
    /// What stands for it among the wanted names, on whatever rank.
    pub(crate) wanted: Pattern,
}

/// What a plan asks for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name for messages.
    pub(crate) file: String,
    /// The folder that relative roots start from.
    pub(crate) dir: PathBuf,
    /// The plan.
    pub(crate) plan: TomlPlan,
}

impl CastSource {
    /// That no rank has it, and where each looked.
    pub(crate) fn unheld(&self) -> String {
        format!("{NOBODY}; every rank that gives looked for {}", self.path)
    }
}

impl JobSpec {
    /// The work that rank 0 was given at its command line, which was `words`.
    ///
    /// # Errors
    /// If the command line asks for what cannot be (exit 2), or a file that it names cannot be read
    /// or is wrong (exit 4).
    pub(crate) fn given(command: &Command, words: Vec<String>) -> Result<JobSpec, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::environment(format!("the current folder cannot be told: {error}"))
        })?;
        let plan = match command {
            Command::Place(place) => {
                let read = plan::read_place(&place.plan);
                Some(read.map_err(|error| Failure::from(&error))?)
            }
            _ => None,
        };
        let racks = match options_of(command) {
            Some(options) => racks(&options.rack)?,
            None => Vec::new(),
        };
        JobSpec::new(command, JobMessage::new(words, &cwd, plan, racks)?)
    }

    fn new(command: &Command, message: JobMessage) -> Result<JobSpec, Failure> {
        let (options, task) = match (command, &message.plan) {
            (Command::Cast(args), _) => {
                (args.placing.clone(), Task::Cast(cast(args, &message.cwd)?))
            }
            (Command::Place(args), Some(plan)) => (args.placing.clone(), place(args, plan)?),
            _ => return Err(Failure::input("this is neither a cast nor a plan to place")),
        };
        Ok(JobSpec { options, task, message })
    }

    /// The same, with a rank 0 that only gives, unless --to includes it.
    pub(crate) fn with_source_only(mut self) -> JobSpec {
        self.message.source_only = true;
        self
    }

    /// Whether a rank takes what is cast.
    pub(crate) fn takes(&self, cast: &Cast, rank: Rank, host: &str) -> bool {
        match &cast.to {
            Some(who) => who.holds(rank, host),
            None => rank != Rank::TRACKER || !self.message.source_only,
        }
    }

    /// The job as it is sent to the other ranks.
    pub(crate) fn message(&self) -> Value {
        // Texts, lists and a truth value are always JSON.
        serde_json::to_value(&self.message).unwrap_or_default()
    }

    /// Reads what [`JobSpec::message`] gave, at another rank.
    ///
    /// # Errors
    /// If rank 0 is of another version (exit 3), or its message is malformed (exit 4).
    pub(crate) fn received(message: &Value) -> Result<JobSpec, Failure> {
        let malformed = || Failure::input("rank 0 told a work that cannot be understood");
        let MessageVersion { dunlin: version } =
            MessageVersion::deserialize(message).map_err(|_| malformed())?;
        if version != VERSION {
            return Err(Failure::environment(format!(
                "expected dunlin {version}, which rank 0 is, found {VERSION} here; install the same \
                 version on every host"
            )));
        }
        let message = JobMessage::deserialize(message).map_err(|_| malformed())?;
        let args = Args::try_parse_from(&message.words).map_err(|_| malformed())?;
        JobSpec::new(&args.command, message)
    }

    /// The label of a host's rack; empty if none was given.
    pub(crate) fn rack_of(&self, host: &str) -> String {
        let labels = self.message.racks.iter().rev();
        let mut fitting = labels.filter(|(one, _)| same_host(one, host));
        fitting.next().map(|(_, label)| label.clone()).unwrap_or_default()
    }

    /// The name of the command.
    pub(crate) fn command(&self) -> &'static str {
        match self.task {
            Task::Cast(_) => "cast",
            Task::Place(_) => "place",
        }
    }

    /// The SHA-256 of files, by name.
    pub(crate) fn pins(&self) -> BTreeMap<String, [u8; 32]> {
        match &self.task {
            Task::Cast(_) => BTreeMap::new(),
            Task::Place(place) => {
                place.plan.pins.iter().map(|pin| (pin.path.clone(), pin.sha256)).collect()
            }
        }
    }

    /// The source that a pattern stands for.
    pub(crate) fn source(&self, pattern: &str) -> Option<&CastSource> {
        let Task::Cast(cast) = &self.task else { return None };
        cast.sources.iter().find(|source| source.wanted.as_str() == pattern)
    }
}

/// Fills in `{rank}` and `{host}`.
pub(crate) fn filled(template: &str, rank: Rank, host: &str) -> String {
    template.replace("{rank}", &rank.to_string()).replace("{host}", host)
}

/// What `cast` and `place` have in common; `None` of another command.
pub(crate) fn options_of(command: &Command) -> Option<&PlacingArgs> {
    match command {
        Command::Cast(cast) => Some(&cast.placing),
        Command::Place(place) => Some(&place.placing),
        _ => None,
    }
}

fn place(args: &PlaceArgs, message: &PlanMessage) -> Result<Task, Failure> {
    let (file, dir) = (message.file.clone(), PathBuf::from(&message.dir));
    let plan = parse_place(&file, message.text.as_bytes()).map_err(Failure::input)?;
    if args.placing.looks_only()
        && let Some(data) = plan.generate.iter().find(|data| !dir.join(&data.path).exists())
    {
        tracing::debug!(path = data.path, "test data is not there yet");
    }
    Ok(Task::Place(Box::new(Place { file, dir, plan })))
}

fn cast(args: &CastArgs, cwd: &str) -> Result<Cast, Failure> {
    let dest = utf8(&args.dest)?;
    if dest.is_empty() {
        return Err(Failure::usage("DEST is empty; give a folder, `.` for this one"));
    }
    if filled(dest, Rank(0), "h").contains(['{', '}']) {
        return Err(Failure::usage(format!(
            "`{dest}` is no DEST: it has braces that are neither {{rank}} nor {{host}}"
        )));
    }
    let sources = args.src.iter().map(|path| source(path, cwd));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    for (index, one) in sources.iter().enumerate() {
        let same = |other: &&CastSource| other.name == one.name && !one.name.is_empty();
        if let Some(other) = sources.iter().take(index).find(same) {
            return Err(Failure::usage(format!(
                "`{}` and `{}` would both land as `{}` in DEST; cast one of them by itself, or give \
                 it another name",
                other.given, one.given, one.name
            )));
        }
    }
    let dest = absolute(cwd, dest.trim_end_matches('/'));
    let dest = if dest.is_empty() { "/".to_owned() } else { dest };
    Ok(Cast { sources, dest, to: args.to.clone(), from: args.from.clone() })
}

fn source(path: &Path, cwd: &str) -> Result<CastSource, Failure> {
    let said = utf8(path)?;
    let wrong = |why: &str| Failure::usage(format!("`{said}` is no SRC: {why}"));
    if said.is_empty() {
        return Err(wrong("it is empty; give a file or a folder"));
    }
    let contents = said.ends_with('/') || said == "." || said.ends_with("/.");
    let bare = said.trim_end_matches("/.").trim_end_matches('/');
    let last = bare.rsplit('/').next().unwrap_or(bare);
    if last == ".." {
        return Err(wrong("its last part is `..`; give the folder by its name, or a `/` after it"));
    }
    let name = dunlin_metainfo::escape_name(if contents { b"" } else { last.as_bytes() });
    let wanted = wanted(&name).map_err(|error| wrong(&format!("its last name: {error}")))?;
    Ok(CastSource { given: said.to_owned(), path: absolute(cwd, bare), name, wanted })
}

/// The pattern for what lands under a name, on whatever rank and host.
fn wanted(name: &str) -> Result<Pattern, dunlin_plan::PatternError> {
    if !name.contains("{rank}") && !name.contains("{host}") {
        return Pattern::tree(name);
    }
    let any = |text: String| text.replace("{rank}", "*").replace("{host}", "*").replace("**", "*");
    Pattern::parse(&format!("{}/***", any(Pattern::escape(name))))
}

fn absolute(cwd: &str, path: &str) -> String {
    if path.starts_with('/') || path.is_empty() {
        return path.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    match path {
        "." => cwd.to_owned(),
        _ => format!("{}/{path}", cwd.trim_end_matches('/')),
    }
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::usage(format!(
            "{}: expected a path in UTF-8, found other bytes; rename it",
            path.display()
        ))
    })
}

/// The labels of racks, by host.
fn racks(said: &[Racks]) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for one in said {
        match one {
            Racks::Label(hosts, label) => {
                all.extend(hosts.iter().map(|host| (host.clone(), label.clone())));
            }
            Racks::File(path) => all.extend(racks_of(path)?),
        }
    }
    Ok(all)
}

fn racks_of(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for (number, line) in super::hosts::lines(path)? {
        let fault = |why: &str| {
            Failure::input(format!(
                "{}:{number}: expected HOSTS=LABEL like n[01-08]=r1, found `{line}`{why}",
                path.display()
            ))
        };
        let (hosts, label) = line.split_once('=').ok_or_else(|| fault(""))?;
        let label = label.trim();
        if label.is_empty() {
            return Err(fault(", which has no label"));
        }
        let hosts = expand_hosts(hosts.trim()).map_err(|why| fault(&format!(", {why}")))?;
        all.extend(hosts.into_iter().map(|host| (host, label.to_owned())));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
