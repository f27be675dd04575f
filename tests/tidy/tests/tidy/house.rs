//! The repository as the checks see it: crates, sources and texts, by relative path.

use crate::manifest::Manifest;
use crate::scan::Source;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Folders that are not part of the repository, wherever they stand.
const SKIPPED: &[&str] = &[".git", "target", "artifacts"];
/// Folders of an example that a run makes and git ignores.
const MADE: &[&str] = &["data", "work", "out"];
/// The largest file that is read as text, in bytes; all of ours are far smaller.
const MAX_TEXT: u64 = 2 << 20;

/// Everything that is checked.
pub(crate) struct House {
    /// The top of the repository.
    pub(crate) root: PathBuf,
    /// All manifests but the workspace's, in order of their paths.
    pub(crate) crates: Vec<Manifest>,
    /// All Rust sources, in order of their paths.
    pub(crate) sources: Vec<Source>,
    /// All files that are text, by relative path.
    texts: BTreeMap<String, String>,
    /// All files, text or not.
    files: Vec<String>,
}

impl House {
    /// The repository that this test stands in, read once.
    pub(crate) fn get() -> &'static House {
        static HOUSE: OnceLock<House> = OnceLock::new();
        HOUSE.get_or_init(House::read)
    }

    fn read() -> House {
        // Asked at run time: a target folder that several clones share holds one binary for all.
        let here = std::env::var_os("CARGO_MANIFEST_DIR");
        let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&here).join("../..");
        let mut files = Vec::new();
        list(&root, "", &mut files);
        files.sort();
        let mut texts = BTreeMap::new();
        for file in &files {
            let path = root.join(file);
            let short = fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_TEXT);
            if !short || file.starts_with("fuzz/corpus/") {
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(file.clone(), text);
            }
        }
        let sources = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = sources.map(|(path, text)| Source::new(path, text)).collect();
        let manifests = texts.iter().filter(|(path, _)| path.ends_with("/Cargo.toml"));
        let workspace = texts.get("Cargo.toml").expect("the workspace has a manifest");
        let crates = manifests.map(|(path, text)| Manifest::read(path, text, workspace)).collect();
        House { root, crates, sources, texts, files }
    }

    /// A text by its path.
    pub(crate) fn text(&self, path: &str) -> String {
        self.texts.get(path).cloned().unwrap_or_else(|| panic!("{path}: expected a text"))
    }

    /// All texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// All files below a folder, given with its slash.
    pub(crate) fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.iter().filter_map(move |file| file.strip_prefix(folder))
    }
}

fn list(root: &Path, below: &str, files: &mut Vec<String>) {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{below}: {error}"));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{below}: {error}"));
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let Ok(kind) = entry.file_type() else { continue };
        let made = below.starts_with("examples/") && MADE.contains(&name.as_str());
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) && !made {
            list(root, &path, files);
        } else if kind.is_file() {
            files.push(path);
        }
    }
}
