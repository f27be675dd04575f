//! One rank's part of a `cast` or `place`: from where it gives, what it takes and where to. Decided
//! from names alone; only roots are looked up on this host's disk, to compare them by their real
//! paths.

use super::spec::{Cast, CastSource, JobSpec, Place, Task, filled};
use dunlin_base::Rank;
use dunlin_plan::place::{Share, Site, problems, shares};
use dunlin_plan::{Have, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One rank's part.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// From where it gives.
    pub(crate) sources: Vec<Source>,
    /// Which of that.
    pub(crate) have: Have,
    /// Where wanted files go; empty if it wants nothing.
    pub(crate) dest: PathBuf,
    /// What it wants.
    pub(crate) wants: Vec<Pattern>,
    /// A lower rank of its host writes the same into the same folder.
    pub(crate) mirrors: Option<Rank>,
    /// Why it cannot take what it wants.
    pub(crate) refused: Option<String>,
    /// The label of its rack; empty if none was given.
    pub(crate) rack: String,
}

/// Something at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The name that it lands under; empty if what is in it lands.
    pub(crate) name: String,
    /// Which SRC it is, by number.
    pub(crate) source: usize,
}

impl Assignment {
    /// The part of a rank that neither gives nor takes.
    pub(crate) fn none(rack: String) -> Assignment {
        Assignment {
            sources: Vec::new(),
            have: Have::Everything,
            dest: PathBuf::new(),
            wants: Vec::new(),
            mirrors: None,
            refused: None,
            rack,
        }
    }

    /// Whether it wants anything.
    pub(crate) fn takes(&self) -> bool {
        !self.wants.is_empty()
    }
}

/// The parts of these ranks. Only ranks that see the same files matter to one another, so the parts
/// of one host follow from its own ranks.
pub(crate) fn parts(spec: &JobSpec, sites: &[Site]) -> BTreeMap<Rank, Assignment> {
    match &spec.task {
        Task::Cast(cast) => parts_of_cast(spec, cast, sites),
        Task::Place(place) => parts_of_plan(spec, place, sites),
    }
}

/// What is asked for that the job does not have, a sentence each. `sites` are all ranks of the job.
pub(crate) fn unmatched(spec: &JobSpec, sites: &[Site]) -> Vec<String> {
    match &spec.task {
        Task::Cast(cast) => {
            let named = [("--to", &cast.to), ("--from", &cast.from)];
            let idle = named.into_iter().filter_map(|(option, who)| {
                let who = who.as_ref()?;
                let none = !sites.iter().any(|site| who.holds(site.rank, &site.host));
                none.then(|| format!("{option}: no rank of this job is meant by it"))
            });
            idle.collect()
        }
        Task::Place(place) => {
            problems(&place.file, &place.plan, sites).iter().map(ToString::to_string).collect()
        }
    }
}

fn parts_of_cast(spec: &JobSpec, cast: &Cast, sites: &[Site]) -> BTreeMap<Rank, Assignment> {
    let wants: BTreeSet<&str> = cast.sources.iter().map(|source| source.wanted.as_str()).collect();
    let wants = || -> Vec<Pattern> {
        let mut left = wants.clone();
        let wanted = cast.sources.iter().map(|source| &source.wanted);
        wanted.filter(|wanted| left.remove(wanted.as_str())).cloned().collect()
    };
    let mut sites: Vec<&Site> = sites.iter().collect();
    sites.sort_by_key(|site| site.rank);
    // By host and folder, the lowest rank that writes there.
    let mut writers: BTreeMap<(&str, PathBuf), Rank> = BTreeMap::new();
    let mut parts = BTreeMap::new();
    for site in sites {
        let Site { rank, host, files } = site;
        let mut part = Assignment::none(spec.rack_of(host));
        let fill = |template: &str| filled(template, *rank, host);
        let source = |(source, one): (usize, &CastSource)| Source {
            path: PathBuf::from(fill(&one.path)),
            name: fill(&one.name),
            source,
        };
        let sources: Vec<Source> =
            cast.sources.iter().enumerate().map(|(at, one)| source((at, one))).collect();
        if spec.takes(cast, *rank, host) {
            part.dest = PathBuf::from(fill(&cast.dest));
            part.wants = wants();
            part.refused = sources.iter().find_map(|source| nested(source, &part.dest));
            let lowest = *writers.entry((files.as_str(), real(&part.dest))).or_insert(*rank);
            part.mirrors = Some(lowest).filter(|lowest| lowest != rank);
        }
        if cast.from.as_ref().is_none_or(|who| who.holds(*rank, host)) {
            part.sources = sources;
        }
        parts.insert(*rank, part);
    }
    parts
}

/// Why something cannot land in a folder: one would be written into the other.
fn nested(source: &Source, dest: &Path) -> Option<String> {
    let (path, landing) = (real(&source.path), real(&dunlin_disk::path_of(dest, &source.name)));
    if path == landing || (!path.starts_with(&landing) && !landing.starts_with(&path)) {
        return None;
    }
    let (path, landing) = (source.path.display(), landing.display());
    Some(format!(
        "it would land at {landing}, and one of that and {path} lies inside the other; give another \
         DEST"
    ))
}

fn parts_of_plan(spec: &JobSpec, place: &Place, sites: &[Site]) -> BTreeMap<Rank, Assignment> {
    let root_of = |root: &str| {
        let path = if root.is_empty() { place.dir.clone() } else { place.dir.join(root) };
        // A path of a plan is UTF-8, and what stands above it is shown as well as it can be.
        real(&path).to_string_lossy().into_owned()
    };
    let shares = shares(&place.file, &place.plan, sites, root_of);
    let part = |site: &Site| {
        let rack = spec.rack_of(&site.host);
        let Some(share) = shares.get(&site.rank) else {
            return (site.rank, Assignment::none(rack));
        };
        (site.rank, part_of_share(share, rack))
    };
    sites.iter().map(part).collect()
}

fn part_of_share(share: &Share<'_>, rack: String) -> Assignment {
    let Share { rule, root, mirrors, refused } = share;
    let root = PathBuf::from(root);
    let rack = if rule.rack.is_empty() { rack } else { rule.rack.clone() };
    Assignment {
        sources: vec![Source { path: root.clone(), name: String::new(), source: 0 }],
        have: rule.have.clone().map_or(Have::Wanted, Have::Patterns),
        dest: if rule.want.is_empty() { PathBuf::new() } else { root },
        wants: rule.want.clone(),
        mirrors: *mirrors,
        refused: refused.as_ref().map(ToString::to_string),
        rack,
    }
}

/// The path without links, as far as it is there already.
pub(super) fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = there else { return path.to_owned() };
    match path.strip_prefix(above) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
