//! The advice after a run that found everything in place: how to start over.
//!
//! The advice is a command that removes files, so it names only what the next run fetches again:
//! never a folder of a peer, of `--out` or of the plan, and no folder in which anything else lies.

use super::peers::offers;
use crate::console::out::shown_word;
use dunlin_base::Rank;
use dunlin_cluster::{FileState, FoundFile, PeerConfig, PeerContent, Report};
use dunlin_plan::Have;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// The most paths that the advice names: a command of that length still fits on a screen.
const MAX_PATHS: usize = 12;

/// The line of a run that found everything in place.
const IN_PLACE: &str = "everything wanted is there already; nothing moved";

/// What stood where before the run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    /// By rank, the names of the files in its output folder.
    here: BTreeMap<Rank, BTreeSet<String>>,
    outputs: Vec<Fetched>,
}

/// What an output folder has that can come again.
#[derive(Clone, Debug)]
struct Fetched {
    folder: PathBuf,
    /// Names of wanted files that another rank gives.
    fetched: BTreeSet<String>,
    /// Names of files that the plan makes.
    generated: BTreeSet<String>,
}

impl Before {
    /// Looks at the ranks as they are before the run. `plan` is the folder of the plan, and
    /// `generated` is what the plan makes again when it is not there.
    pub(crate) fn look(peers: &[PeerConfig], plan: &Path, generated: &BTreeSet<PathBuf>) -> Before {
        let mut before = Before::default();
        let givers = givers(peers);
        let places = Places::of(peers, plan);
        for peer in peers {
            let PeerContent::Files { root, dest, found, found_dest, have, wants, .. } =
                &peer.content
            else {
                continue;
            };
            let found = if dest == root { found } else { found_dest };
            let names = found.iter().map(|file| file.name.clone()).collect();
            before.here.insert(peer.rank, names);
            if found.is_empty() || places.touch(root, dest) {
                continue;
            }
            let own = real(root) == real(dest);
            let fetched = |file: &&FoundFile| {
                let given = givers.get(file.name.as_str());
                wants.iter().any(|pattern| pattern.matches(&file.name))
                    && !(own
                        && matches!(have, Have::Patterns(_))
                        && offers(have, wants, &file.name))
                    && given.is_some_and(|by| by.iter().any(|rank| *rank != peer.rank))
            };
            let name = |file: &FoundFile| file.name.clone();
            let fetched: BTreeSet<String> = found.iter().filter(fetched).map(name).collect();
            if !fetched.is_empty() {
                let made = found.iter().filter(|file| generated.contains(&file.path));
                let generated = made.map(name).collect();
                before.outputs.push(Fetched { folder: dest.clone(), fetched, generated });
            }
        }
        before
    }

    /// The lines after a run in which nothing moved since every wanted file was there before, line
    /// by line; nothing if anything moved. A course plan always starts afresh.
    pub(crate) fn advice(&self, course: bool, report: &Report) -> Vec<String> {
        let all_here = report.peers.iter().all(|peer| {
            let here = self.here.get(&peer.rank);
            peer.files.iter().all(|file| {
                file.state == FileState::Complete
                    && here.is_some_and(|names| names.contains(&file.name))
            })
        });
        let wanted = report.peers.iter().any(|peer| !peer.files.is_empty());
        if course || report.bytes_moved > 0 || !all_here || !wanted {
            return Vec::new();
        }
        advice(&self.removable())
    }

    /// The fewest paths that cover the fetched files and nothing that could not come again.
    fn removable(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for output in &self.outputs {
            output.cover(&output.folder, "", &mut paths);
        }
        paths
    }
}

/// The line after a run of a job in which nothing moved since every wanted file was there before,
/// as far as its report shows. It does not advise how to start over: the outputs are on many disks.
pub(crate) fn in_place(report: &Report) -> Option<&'static str> {
    let wanted = report.peers.iter().any(|peer| !peer.files.is_empty());
    let all_here = report.plan.iter().all(|planned| planned.files == 0 && planned.bytes == 0);
    (wanted && all_here && report.bytes_moved == 0).then_some(IN_PLACE)
}

/// That all is in place, and the command that removes these paths.
fn advice(paths: &[PathBuf]) -> Vec<String> {
    if paths.is_empty() {
        return vec![IN_PLACE.to_owned()];
    }
    let (named, rest) = paths.split_at(paths.len().min(MAX_PATHS));
    let mut text = "  rm -r".to_owned();
    if named.iter().any(|path| path.as_os_str().as_encoded_bytes().starts_with(b"-")) {
        text.push_str(" --");
    }
    for path in named {
        text.push(' ');
        text.push_str(&shown_word(path));
    }
    let mut lines = vec![format!("{IN_PLACE}. To start over:"), text];
    if !rest.is_empty() {
        lines.push(format!("  and {} more of this kind", rest.len()));
    }
    lines
}

impl Fetched {
    /// Adds the paths that cover what was fetched below `folder`, whose names begin with `prefix`.
    /// Returns whether everything in it can come again. It looks at the folder itself, since a
    /// scan leaves out what is no data.
    fn cover(&self, folder: &Path, prefix: &str, paths: &mut Vec<PathBuf>) -> bool {
        let listed =
            fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let Ok(mut entries) = listed else { return false };
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut all = true;
        for entry in entries {
            let (path, last) = (folder.join(entry.file_name()), entry.file_name());
            let (Some(last), Ok(kind)) = (last.to_str(), entry.file_type()) else {
                all = false;
                continue;
            };
            let name = format!("{prefix}{last}");
            if kind.is_file() && self.fetched.contains(&name) {
                paths.push(path);
            } else if kind.is_dir() && self.has_below(&format!("{name}/")) {
                let mark = paths.len();
                if self.cover(&path, &format!("{name}/"), paths) {
                    paths.truncate(mark);
                    paths.push(path);
                } else {
                    all = false;
                }
            } else {
                all &= kind.is_file() && self.generated.contains(&name);
            }
        }
        all
    }

    fn has_below(&self, prefix: &str) -> bool {
        let next = self.fetched.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).next();
        next.is_some_and(|name| name.starts_with(prefix))
    }
}

/// By name, the ranks that hold a file and do not want it: those who could give it again. A file
/// that all ranks want is not to be removed.
fn givers(peers: &[PeerConfig]) -> BTreeMap<&str, Vec<Rank>> {
    let mut givers: BTreeMap<&str, Vec<Rank>> = BTreeMap::new();
    for peer in peers {
        let PeerContent::Files { found, have, wants, .. } = &peer.content else { continue };
        for file in found {
            let wanted = wants.iter().any(|pattern| pattern.matches(&file.name));
            if !wanted && offers(have, wants, &file.name) {
                givers.entry(&file.name).or_default().push(peer.rank);
            }
        }
    }
    givers
}

/// Where the ranks' own files lie, by real path: an output folder that touches them holds more
/// than outputs, whatever its name is.
struct Places {
    plan: PathBuf,
    /// Each root, and how many ranks have it.
    roots: BTreeMap<PathBuf, usize>,
}

impl Places {
    fn of(peers: &[PeerConfig], plan: &Path) -> Places {
        let mut roots = BTreeMap::new();
        for peer in peers {
            if let PeerContent::Files { root, .. } = &peer.content {
                *roots.entry(real(root)).or_default() += 1;
            }
        }
        Places { plan: real(plan), roots }
    }

    /// Whether the output folder `dest` of a rank with this root is, holds or lies in a root other
    /// than its own, or holds the plan.
    fn touch(&self, root: &Path, dest: &Path) -> bool {
        let (own, dest) = (real(root), real(dest));
        let foreign = |place: &Path, ranks: usize| place != own || place != dest || ranks > 1;
        let above = dest.ancestors();
        let mut above = above.filter_map(|place| self.roots.get_key_value(place));
        let mut below =
            self.roots.range::<Path, _>((Bound::Excluded(dest.as_path()), Bound::Unbounded));
        self.plan.starts_with(&dest) && own != dest
            || above.any(|(place, ranks)| foreign(place, *ranks))
            || below.next().is_some_and(|(place, _)| place.starts_with(&dest))
    }
}

/// The path without links; as it is if there is nothing there yet.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
