//! One rank's part of a plan, where every rank reads its own from its own disk: it lists the plan's
//! folder, and never opens what is another rank's.

use super::form::{Form, Listing};
use super::{LoadError, LoadedPlan, PLAN_TOML, PlanPath};
use super::{course_source, folder_source, load_peers, load_toml, look};
use dunlin_base::Rank;
use dunlin_plan::{PeerPlan, PeerSource, Plan, PlanForm};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What one rank finds of a plan.
#[derive(Debug)]
pub(crate) struct OwnPart {
    /// The highest rank that the plan has as far as it can be seen from here; 0 if none.
    pub(crate) highest: u32,
    /// Whether the rank's own input is there, right or wrong.
    pub(crate) here: bool,
    /// The plan with this one peer, and with the test data below its root only; or why not.
    pub(crate) part: Result<LoadedPlan, LoadError>,
}

/// What can be seen of a plan without opening any rank's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Its form.
    pub(crate) form: PlanForm,
    /// Its highest rank; 0 if there is none.
    pub(crate) highest: u32,
    /// What looks like a part of it and is not, a sentence each.
    pub(crate) warnings: Vec<String>,
}

/// Looks at the plan for rank 0, which needs no part of it; `None` if no plan is seen.
pub(crate) fn glance(path: &Path) -> Option<Glance> {
    let toml = |file: &Path| {
        let loaded = load_toml(file).ok()?;
        let highest = highest(&loaded);
        Some(Glance { form: PlanForm::Toml, highest, warnings: loaded.plan.warnings })
    };
    let listing = match look(path).ok()? {
        PlanPath::File(file) => return toml(&file),
        PlanPath::Folder(listing) => listing,
    };
    let form = match listing.form(path).ok()? {
        Form::Toml => return toml(&path.join(PLAN_TOML)),
        Form::Course => PlanForm::Course,
        Form::Folders => PlanForm::Folders,
    };
    Some(Glance { form, highest: listing.highest(), warnings: listing.warnings })
}

/// Reads the part of one rank. Moves and makes nothing.
pub(crate) fn load_own(path: &Path, rank: Rank) -> OwnPart {
    match look(path) {
        Err(error) => {
            let here = !matches!(error, LoadError::Absent { .. } | LoadError::NotAPlan { .. });
            OwnPart { highest: 0, here, part: Err(error) }
        }
        Ok(PlanPath::File(file)) => of_toml(&file, rank),
        Ok(PlanPath::Folder(listing)) => of_folder(path, listing, rank),
    }
}

fn of_folder(path: &Path, listing: Listing, rank: Rank) -> OwnPart {
    let highest = listing.highest();
    let form = match listing.form(path) {
        Ok(form) => form,
        Err(LoadError::NotAPlan { path, found }) => {
            let expected = format!("in{rank}.txt, peer{rank}/ or {PLAN_TOML}");
            let part = Err(LoadError::NoPart { path, expected, found });
            return OwnPart { highest, here: false, part };
        }
        Err(error) => return OwnPart { highest, here: true, part: Err(error) },
    };
    let own = |form, name: String, ranks: &BTreeMap<Rank, PathBuf>, source: SourceOf| {
        let Some(place) = ranks.get(&rank) else {
            let part = Err(no_part(path, name, ranks, &listing.warnings));
            return OwnPart { highest, here: false, part };
        };
        let one = BTreeMap::from([(rank, place.clone())]);
        OwnPart { highest, here: true, part: load_peers(path, form, &one, Vec::new(), source) }
    };
    match form {
        Form::Toml => of_toml(&path.join(PLAN_TOML), rank),
        Form::Course => {
            own(PlanForm::Course, format!("in{rank}.txt"), &listing.course, course_source)
        }
        Form::Folders => {
            own(PlanForm::Folders, format!("peer{rank}"), &listing.folders, folder_source)
        }
    }
}

type SourceOf = fn(&Path) -> Result<PeerSource, LoadError>;

/// The error for a folder with others' inputs and not this rank's, which has this name.
fn no_part(
    path: &Path,
    name: String,
    others: &BTreeMap<Rank, PathBuf>,
    warnings: &[String],
) -> LoadError {
    let ignored = format!("{} is ignored", path.join(&name).display());
    let ignored = warnings.iter().find_map(|warning| warning.strip_prefix(&ignored));
    let mut names = others.values().filter_map(|place| place.file_name());
    let first = names.next().unwrap_or_default().to_string_lossy();
    let found = match (ignored, names.count()) {
        (Some(why), _) => format!("one that is ignored{why}"),
        (None, 0) => format!("only {first}"),
        (None, 1) => format!("{first} and one more of other ranks"),
        (None, more) => format!("{first} and {more} more of other ranks"),
    };
    LoadError::NoPart { path: path.to_owned(), expected: name, found }
}

fn of_toml(file: &Path, rank: Rank) -> OwnPart {
    let loaded = match load_toml(file) {
        Ok(loaded) => loaded,
        Err(error) => return OwnPart { highest: 0, here: true, part: Err(error) },
    };
    let highest = highest(&loaded);
    let LoadedPlan { plan, source, dir } = loaded;
    let Some(peer) = plan.peers.into_iter().find(|peer| peer.rank == rank) else {
        let expected = format!("a [[node]] with rank {rank}");
        let found = format!("ranks 1 to {highest}");
        let part = Err(LoadError::NoPart { path: source, expected, found });
        return OwnPart { highest, here: false, part };
    };
    let mut generate = plan.generate;
    generate.retain(|data| below_root(&dir.join(&data.path), &peer));
    let plan = Plan { peers: vec![peer], generate, ..plan };
    OwnPart { highest, here: true, part: Ok(LoadedPlan { plan, source, dir }) }
}

fn below_root(path: &Path, peer: &PeerPlan) -> bool {
    matches!(&peer.source, PeerSource::Files { root, .. } if path.starts_with(root))
}

fn highest(loaded: &LoadedPlan) -> u32 {
    loaded.plan.peers.iter().map(|peer| peer.rank.0).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
