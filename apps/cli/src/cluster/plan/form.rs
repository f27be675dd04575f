//! Which of the three forms a folder has. Other files beside them do not matter.

use super::{LoadError, PLAN_TOML};
use dunlin_base::Rank;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// How many other entries a message names.
const NAMED: usize = 3;

/// The form of a plan's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Course,
    Folders,
    Toml,
}

/// What a folder holds that could be a plan.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files `in<R>.txt`.
    pub(super) course: BTreeMap<Rank, PathBuf>,
    /// The folders `peer<R>/`.
    pub(super) folders: BTreeMap<Rank, PathBuf>,
    /// What looks like a part of the plan and is not.
    pub(super) warnings: Vec<String>,
    toml: bool,
    /// The first few other entries by name, and how many there are.
    others: Vec<String>,
    other_count: usize,
}

impl Listing {
    /// Looks through a folder; a symlink counts as what it points to.
    pub(super) fn read(path: &Path) -> Result<Listing, LoadError> {
        let failed = || LoadError::io(path, "listing it");
        let mut listing = Listing::default();
        for entry in fs::read_dir(path).map_err(failed())? {
            listing.add(&entry.map_err(failed())?.path());
        }
        listing.warnings.sort();
        Ok(listing)
    }

    fn add(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
        let course = name.strip_prefix("in").and_then(|name| name.strip_suffix(".txt"));
        let folder = name.strip_prefix("peer");
        if course == Some("0") || folder == Some("0") {
            self.warnings.push(format!("{} is ignored: rank 0 is the tracker's", path.display()));
            return;
        }
        let numbered = |text: Option<&str>| {
            text.is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        };
        let looks_like_one = numbered(course) || numbered(folder);
        let course = course.and_then(rank);
        let folder = folder.and_then(rank);
        if looks_like_one && course.is_none() && folder.is_none() {
            let why = "a rank is written without zeros in front, and is below 2³²";
            self.warnings.push(format!("{} is ignored: {why}", path.display()));
        }
        if course.is_none() && folder.is_none() && name != PLAN_TOML {
            return self.add_other(&name);
        }
        let (is_file, is_dir) = match fs::metadata(path) {
            Ok(metadata) => (metadata.is_file(), metadata.is_dir()),
            Err(_) => (false, false),
        };
        match (course, folder) {
            (Some(rank), _) if is_file => _ = self.course.insert(rank, path.to_owned()),
            (_, Some(rank)) if is_dir => _ = self.folders.insert(rank, path.to_owned()),
            (None, None) if is_file => self.toml = true,
            _ => {
                let what = if folder.is_some() { "no folder" } else { "no readable file" };
                self.warnings.push(format!("{} is ignored: it is {what}", path.display()));
                self.add_other(&name);
            }
        }
    }

    fn add_other(&mut self, name: &str) {
        self.other_count += 1;
        let at = self.others.partition_point(|other| other.as_str() < name);
        if at < NAMED {
            self.others.insert(at, name.to_owned());
            self.others.truncate(NAMED);
        }
    }

    /// The one form of the folder at `path`.
    pub(super) fn form(&self, path: &Path) -> Result<Form, LoadError> {
        let course = self.course.keys().next().map(|rank| (Form::Course, format!("in{rank}.txt")));
        let folder = self.folders.keys().next().map(|rank| (Form::Folders, format!("peer{rank}/")));
        let toml = self.toml.then(|| (Form::Toml, PLAN_TOML.to_owned()));
        let mut forms = course.into_iter().chain(folder).chain(toml);
        let Some((form, first)) = forms.next() else {
            return Err(LoadError::NotAPlan { path: path.to_owned(), found: self.found() });
        };
        match forms.next() {
            None => Ok(form),
            Some((_, second)) => Err(LoadError::TwoForms { path: path.to_owned(), first, second }),
        }
    }

    /// The highest rank of the folder's files and folders; 0 if there is none.
    pub(super) fn highest(&self) -> u32 {
        let ranks = self.course.keys().chain(self.folders.keys());
        ranks.map(|rank| rank.0).max().unwrap_or(0)
    }

    /// What is there instead of a plan.
    fn found(&self) -> String {
        let ignored = self.warnings.first().map(|warning| format!(" ({warning})"));
        let ignored = ignored.unwrap_or_default();
        let named: Vec<String> =
            self.others.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
        match self.other_count {
            0 if ignored.is_empty() => "an empty folder".to_owned(),
            0 => format!("nothing else{ignored}"),
            count if count <= NAMED => format!("a folder with {}{ignored}", named.join(", ")),
            count => {
                let more = count - named.len();
                format!("a folder with {} and {more} others{ignored}", named.join(", "))
            }
        }
    }
}

/// A rank as file names have it: decimal, from 1, no zero in front.
fn rank(text: &str) -> Option<Rank> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok().map(Rank)).flatten()
}
