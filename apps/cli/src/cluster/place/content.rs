//! From one rank's part to what the world is given of it: its trees as they are found on disk, and
//! what stands where wanted things go.

use super::assignment::{Assignment, Source, real};
use super::spec::{JobSpec, Task};
use crate::cluster::failures;
use dunlin_base::Rank;
use dunlin_cluster::{FoundFile, PeerConfig, PeerContent, Placement};
use dunlin_control::{FailedFile, Location};
use dunlin_disk::{
    DiskError, DiskErrorKind, Fs, Tree, Unkept, list_files, name_of, path_of, scan_tree,
};
use dunlin_metainfo::{EntryKind, TreeEntry};
use dunlin_plan::place::Site;
use dunlin_plan::{Have, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// How many notes on what is left out are printed for one rank; the others are counted.
const MAX_NOTES: usize = 20;

/// What of ranks is left out, in sentences: one for what is the same at several ranks.
pub(crate) fn left_out<'a>(ready: impl Iterator<Item = &'a RankContent>) -> Vec<String> {
    let mut more: Vec<(Rank, Vec<String>)> = Vec::new();
    let named = ready.map(|ready| {
        let rank = ready.peer.rank;
        if ready.more_notes > 0 {
            more.push((rank, vec![format!("{} more of this kind", ready.more_notes)]));
        }
        (rank, ready.notes.clone())
    });
    let named = failures::together(named);
    let groups = named.into_iter().chain(failures::together(more.into_iter()));
    let said = groups.flat_map(|(ranks, texts)| {
        let who = failures::called(&ranks, |rank| format!("rank {rank}"));
        texts.into_iter().map(move |text| format!("{who}: {text}"))
    });
    said.collect()
}

/// A rank that can take part.
#[derive(Debug)]
pub(crate) struct RankContent {
    /// What the world is given.
    pub(crate) peer: PeerConfig,
    /// What a person should know and that fails nothing.
    pub(crate) notes: Vec<String>,
    /// How many more of these there are.
    pub(crate) more_notes: usize,
    /// Which sources the rank has, by number.
    pub(crate) has: BTreeSet<usize>,
}

/// What of a rank is looked at.
pub(crate) struct Lookup<'a> {
    /// What is to be done.
    pub(crate) spec: &'a JobSpec,
    /// The rank and its host.
    pub(crate) site: &'a Site,
    /// Where hash lists of earlier runs are kept, if they are to be believed.
    pub(crate) cache: Option<PathBuf>,
    /// The disk.
    pub(crate) fs: &'a dyn Fs,
    /// Whether a person asked to stop.
    pub(crate) stop: &'a AtomicBool,
}

/// What was found of a rank's sources.
#[derive(Default)]
struct FoundSources {
    files: BTreeMap<String, FoundFile>,
    entries: BTreeMap<String, TreeEntry>,
    unreadable: BTreeMap<String, String>,
    /// The folders and links that stand where wanted things go.
    stands: Vec<TreeEntry>,
    notes: Vec<String>,
    more_notes: usize,
    has: BTreeSet<usize>,
}

impl Lookup<'_> {
    /// Looks at the disk for one rank.
    pub(crate) fn content(&self, part: Assignment) -> RankContent {
        let (rank, options) = (self.site.rank, &self.spec.options);
        let mut found = FoundSources::default();
        part.sources.iter().for_each(|source| self.find(source, &part, &mut found));
        let refused =
            part.refused.clone().or_else(|| part.takes().then(|| untakable(&part.dest))?);
        let place = matches!(self.spec.task, Task::Place(_));
        let listed = match (&refused, part.mirrors) {
            (None, None) if part.takes() && !place => self.stands(&part, &mut found),
            _ => Ok(Vec::new()),
        };
        let refused = refused.or_else(|| listed.as_ref().err().cloned());
        let mut wants = part.wants.clone();
        let refused: Vec<FailedFile> = match &refused {
            Some(reason) => wants.drain(..).map(|want| failed(want.as_str(), reason)).collect(),
            None => Vec::new(),
        };
        let placement = Placement {
            entries: found.entries.into_values().collect(),
            existing: Some(found.stands),
            pins: self.spec.pins().into_keys().collect(),
            unreadable: found.unreadable.iter().map(|(name, why)| failed(name, why)).collect(),
            refused,
            location: Some(self.location(&part)),
            mirrors: part.mirrors.is_some() && !wants.is_empty(),
            in_place: options.in_place,
            delete: options.delete,
            cache: self.cache.clone(),
        };
        let dest = if wants.is_empty() { PathBuf::new() } else { part.dest.clone() };
        let root = match part.sources.first() {
            Some(source) => source.path.clone(),
            // What it does not have must not stand where wanted files go.
            None => dest.join(".dunlin"),
        };
        let content = PeerContent::Files {
            root,
            dest,
            found: found.files.into_values().collect(),
            found_dest: listed.unwrap_or_default(),
            have: part.have,
            wants,
            placement: Some(Box::new(placement)),
        };
        let FoundSources { notes, more_notes, has, .. } = found;
        RankContent { peer: PeerConfig { rank, content }, notes, more_notes, has }
    }

    /// Adds what stands at one source.
    fn find(&self, source: &Source, part: &Assignment, found: &mut FoundSources) {
        if std::fs::symlink_metadata(&source.path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return;
        }
        found.has.insert(source.source);
        let tree = match scan_tree(self.fs, &source.path, &source.name, self.stop) {
            Ok(tree) => tree,
            Err(error) if error.kind == DiskErrorKind::Interrupted => return,
            Err(error) => {
                let name = match source.name.as_str() {
                    "" => name_of(source.path.file_name().unwrap_or_default()),
                    name => name.to_owned(),
                };
                found.unreadable.insert(name, error.to_string());
                return;
            }
        };
        let counts = self.counting(part);
        let Tree { entries, files, mut unreadable, unfinished, notes } = tree;
        // Where something is fetched into, what is unfinished is what this run is for.
        if matches!(self.spec.task, Task::Cast(_)) && !is_in_place(source, part) {
            unreadable.extend(unfinished);
        }
        for file in files.into_iter().filter(|file| counts(&file.name)) {
            let file = FoundFile { name: file.name, path: file.path, length: file.length };
            found.file(file);
        }
        if self.spec.options.looks_only() && matches!(self.spec.task, Task::Place(_)) {
            found.stands = standing(&entries, &part.wants);
        }
        for entry in self.own(entries, part) {
            found.entries.entry(entry.name.clone()).or_insert(entry);
        }
        let unreadable = unreadable.into_iter().filter(|unkept| counts(&unkept.name));
        found.unreadable.extend(unreadable.map(|Unkept { name, reason }| (name, reason)));
        for Unkept { name, reason } in notes.iter().filter(|note| counts(&note.name)) {
            found.note(format!("`{name}`: {reason}"));
        }
    }

    /// Which names of a rank's sources matter.
    fn counting<'p>(&self, part: &'p Assignment) -> impl Fn(&str) -> bool + use<'p> {
        |name: &str| match &part.have {
            Have::Everything => true,
            Have::Patterns(patterns) => matched(patterns, name) || matched(&part.wants, name),
            Have::Wanted => matched(&part.wants, name),
        }
    }

    /// The entries whose looks count as this rank's own: what it gives. Who merely wants a name
    /// that some node of the plan has gives nothing of it but bytes.
    fn own(&self, entries: Vec<TreeEntry>, part: &Assignment) -> Vec<TreeEntry> {
        let Task::Place(place) = &self.spec.task else { return entries };
        let owned = |name: &str| {
            let all = place.plan.nodes.iter().filter_map(|node| node.have.as_ref());
            all.flatten().any(|have| have.matches(name) || is_above(name, have))
        };
        let given = |name: &str| match &part.have {
            Have::Everything => true,
            Have::Patterns(patterns) => matched(patterns, name),
            Have::Wanted => matched(&part.wants, name) && !owned(name),
        };
        with_folders(&entries, given)
    }

    /// The files that stand where wanted ones go, without those that the rank gives from there.
    fn stands(
        &self,
        part: &Assignment,
        found: &mut FoundSources,
    ) -> Result<Vec<FoundFile>, String> {
        let mut listed: BTreeMap<String, FoundFile> = BTreeMap::new();
        for (path, name) in landings(self.spec, part) {
            let tree = match list_files(self.fs, &path, &name, self.stop) {
                Ok(tree) => tree,
                Err(DiskError { kind: DiskErrorKind::Interrupted, .. }) => break,
                Err(_) if std::fs::symlink_metadata(&path).is_err() => continue,
                Err(error) => return Err(error.to_string()),
            };
            if self.spec.options.looks_only() {
                found.stands.extend(standing(&tree.entries, &part.wants));
            }
            for file in tree.files.into_iter().filter(|file| matched(&part.wants, &file.name)) {
                let file = FoundFile { name: file.name, path: file.path, length: file.length };
                listed.insert(file.name.clone(), file);
            }
        }
        let given =
            |file: &FoundFile| found.files.get(&file.name).is_some_and(|own| own.path == file.path);
        Ok(listed.into_values().filter(|file| !given(file)).collect())
    }

    fn location(&self, part: &Assignment) -> Location {
        let Site { rank, files, .. } = self.site;
        // Ranks that share a folder have one copy, and only one of them fetches it.
        let writer = part.mirrors.unwrap_or(*rank);
        Location {
            host: match self.spec.options.per_rank {
                true => format!("{files} rank {writer}"),
                false => files.clone(),
            },
            rack: part.rack.clone(),
            dest: part.dest.display().to_string(),
            device: device_of(&part.dest),
        }
    }
}

impl FoundSources {
    /// Adds a file, unless another source has landed one under its name.
    fn file(&mut self, file: FoundFile) {
        if let Some(other) = self.files.get(&file.name) {
            let (one, two) = (other.path.display(), file.path.display());
            let why = format!("{one} and {two} would both land there; cast one of them by itself");
            self.unreadable.insert(file.name.clone(), why);
        }
        if self.unreadable.contains_key(&file.name) {
            self.files.remove(&file.name);
            return;
        }
        self.files.insert(file.name.clone(), file);
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text);
        } else {
            self.more_notes += 1;
        }
    }
}

/// The entries that count, and the folders above them.
fn with_folders(entries: &[TreeEntry], counts: impl Fn(&str) -> bool) -> Vec<TreeEntry> {
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for entry in entries.iter().filter(|entry| counts(&entry.name)) {
        let ends = entry.name.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at);
        above.extend(ends.filter_map(|end| entry.name.get(..end)));
    }
    let kept = |entry: &&TreeEntry| counts(&entry.name) || above.contains(entry.name.as_str());
    entries.iter().filter(kept).cloned().collect()
}

/// The folders and links among entries that wanted names have, or stand in.
fn standing(entries: &[TreeEntry], wants: &[Pattern]) -> Vec<TreeEntry> {
    let above = |name: &str| wants.iter().any(|want| is_above(name, want));
    let mut all = with_folders(entries, |name| matched(wants, name) || above(name));
    all.retain(|entry| entry.kind != EntryKind::File);
    all
}

/// Whether what a rank gives stands where it goes.
fn is_in_place(source: &Source, part: &Assignment) -> bool {
    part.takes() && real(&source.path) == real(&path_of(&part.dest, &source.name))
}

/// The paths at which something lands, and the names there. All of the folder, if names are not
/// known.
fn landings(spec: &JobSpec, part: &Assignment) -> Vec<(PathBuf, String)> {
    let Task::Cast(cast) = &spec.task else { return Vec::new() };
    let open = |name: &str| name.is_empty() || name.contains("{rank}") || name.contains("{host}");
    if cast.sources.iter().any(|source| open(&source.name)) {
        return vec![(part.dest.clone(), String::new())];
    }
    let names = cast.sources.iter().map(|source| &source.name);
    names.map(|name| (path_of(&part.dest, name), name.clone())).collect()
}

/// Why nothing can be written to a folder at all.
fn untakable(dest: &Path) -> Option<String> {
    let there = dest.ancestors().find(|above| std::fs::symlink_metadata(above).is_ok())?;
    let metadata = std::fs::metadata(there);
    match metadata {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some(format!(
            "{}: expected a folder or nothing, found a file; move it away, or give another \
             destination",
            there.display()
        )),
        Err(error) => Some(format!("{}: it cannot be looked at: {error}", there.display())),
    }
}

/// The number of the file system that a folder is on or will be.
fn device_of(dest: &Path) -> u64 {
    let there = dest.ancestors().find_map(|above| std::fs::metadata(above).ok());
    there.map_or(0, |metadata| metadata.dev())
}

fn matched(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// Whether a pattern can only stand for names below this one.
fn is_above(name: &str, pattern: &Pattern) -> bool {
    pattern.as_str().strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

fn failed(name: &str, reason: &str) -> FailedFile {
    FailedFile { name: name.to_owned(), reason: reason.to_owned() }
}
