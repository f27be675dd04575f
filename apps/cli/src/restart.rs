//! A run that finds everything in place says so, and how to start over.

use crate::out::shell_word;
use crate::peers::offers;
use dunlin_base::Rank;
use dunlin_cluster::{FileState, FoundFile, PeerConfig, PeerContent, Report};
use dunlin_plan::{Have, PlanForm};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most paths that the advice names: a command of that length still fits on a screen.
const MAX_PATHS: usize = 12;

/// What stood where before the run: by rank, the names of the files in its output folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    here: BTreeMap<Rank, BTreeSet<String>>,
    removable: Vec<PathBuf>,
}

impl Before {
    /// Looks at the ranks as they are before the run. `outputs` is the folder of `--out`, and
    /// `generated` is what the plan makes again when it is not there.
    pub(crate) fn look(
        peers: &[PeerConfig],
        outputs: Option<&Path>,
        generated: &BTreeSet<PathBuf>,
    ) -> Before {
        let mut before = Before::default();
        let givers = givers(peers);
        for peer in peers {
            let PeerContent::Files { root, dest, found, found_dest, have, wants } = &peer.content
            else {
                continue;
            };
            let found = if dest == root { found } else { found_dest };
            let names = found.iter().map(|file| file.name.clone()).collect();
            before.here.insert(peer.rank, names);
            let fetched = |file: &FoundFile| {
                let given = givers.get(file.name.as_str());
                wants.iter().any(|pattern| pattern.matches(&file.name))
                    && !matches!(have, Have::Patterns(_) if offers(have, wants, &file.name))
                    && given.is_some_and(|by| by.iter().any(|rank| *rank != peer.rank))
            };
            if outputs.is_none() && found.iter().any(fetched) {
                let again = |file: &FoundFile| fetched(file) || generated.contains(&file.path);
                before.removable.extend(shortest(dest, found, again));
            }
        }
        before.removable.extend(outputs.map(Path::to_owned));
        before
    }

    /// What to say after a run in which nothing moved since every wanted file was there before;
    /// `None` if anything moved. A course plan always starts afresh.
    pub(crate) fn advice(&self, form: PlanForm, report: &Report) -> Option<String> {
        let all_here = report.peers.iter().all(|peer| {
            let here = self.here.get(&peer.rank);
            peer.files.iter().all(|file| {
                file.state == FileState::Complete
                    && here.is_some_and(|names| names.contains(&file.name))
            })
        });
        let wanted = report.peers.iter().any(|peer| !peer.files.is_empty());
        if form == PlanForm::Course || report.bytes_moved > 0 || !all_here || !wanted {
            return None;
        }
        let mut text = "everything wanted is there already; nothing moved".to_owned();
        if !self.removable.is_empty() {
            text.push_str(". To start over:\n  rm -r");
            for path in self.removable.iter().take(MAX_PATHS) {
                text.push(' ');
                text.push_str(&shell_word(path));
            }
            let rest = self.removable.len().saturating_sub(MAX_PATHS);
            if rest > 0 {
                text.push_str(&format!("\n  and {rest} more of this kind"));
            }
        }
        Some(text)
    }
}

/// By name, the ranks that hold a file and do not want it: those who could give it again. A file
/// that everybody wants is nobody's to remove.
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

/// The fewest paths that cover the fetched files below `root` and nothing else: the root itself,
/// its top folders, or single files.
fn shortest(
    root: &Path,
    found: &[FoundFile],
    fetched: impl Fn(&FoundFile) -> bool,
) -> Vec<PathBuf> {
    // The folder of a peer holds its `wants` too, which nobody could bring back.
    let wants = root.join("wants").exists();
    if !found.is_empty() && !wants && found.iter().all(&fetched) {
        return vec![root.to_owned()];
    }
    let mut tops: BTreeMap<&str, Vec<&FoundFile>> = BTreeMap::new();
    for file in found {
        let top = file.name.split('/').next().unwrap_or(&file.name);
        tops.entry(top).or_default().push(file);
    }
    let mut paths = Vec::new();
    for (top, files) in tops {
        if files.iter().all(|file| fetched(file)) {
            paths.push(root.join(top));
        } else {
            let single = files.into_iter().filter(|file| fetched(file));
            paths.extend(single.map(|file| file.path.clone()));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_plan::Pattern;

    fn peer(rank: u32, files: &str, wants: &str) -> PeerConfig {
        let root = PathBuf::from(format!("work/{rank}"));
        let found = files.split_whitespace().map(|name| FoundFile {
            name: name.to_owned(),
            path: root.join(name),
            length: 1,
        });
        let wants = wants.split_whitespace().map(|text| Pattern::parse(text).unwrap()).collect();
        let content = PeerContent::Files {
            root: root.clone(),
            dest: root.clone(),
            found: found.collect(),
            found_dest: Vec::new(),
            have: Have::Everything,
            wants,
        };
        PeerConfig { rank: Rank(rank), content }
    }

    #[test]
    fn only_what_somebody_else_can_give_again_is_removed() {
        let peers = [
            peer(1, "big tree/a tree/b cfg", ""),
            peer(2, "big tree/a", "big tree/*"),
            peer(3, "mine big tree/a tree/own", "big tree/a"),
            peer(4, "only-wanted", "only-wanted"),
        ];
        let none = BTreeSet::new();
        let before = Before::look(&peers, None, &none);
        let paths = ["work/2", "work/3/big", "work/3/tree/a"].map(PathBuf::from);
        assert_eq!(before.removable, paths);
        let generated = ["work/3/mine", "work/3/tree/own", "work/4/x"].map(PathBuf::from);
        let before = Before::look(&peers, None, &generated.into());
        assert_eq!(before.removable, ["work/2", "work/3"].map(PathBuf::from));
        let before = Before::look(&peers, Some(Path::new("out")), &none);
        assert_eq!(before.removable, [PathBuf::from("out")]);
    }
}
