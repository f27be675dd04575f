//! Test data: pseudo-random bytes that are the same wherever and whenever they are made.

use super::LoadError;
use crate::console::progress::{ProgressMode, Step};
use crate::console::signals::Watch;
use crate::exit::Failure;
use dunlin_base::{Rank, Rng, format_size};
use dunlin_disk::part_path;
use dunlin_plan::Generate;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How many bytes are made at a time: large enough for one system call to cost nothing, small
/// enough to stop at once.
const STEP: usize = 1 << 20;

/// Whether the file is there with the length that the plan asks for. Its bytes are not read.
///
/// # Errors
/// If something else stands there (nothing is ever overwritten), or the system refuses.
pub(crate) fn is_generated(plan_dir: &Path, data: &Generate) -> Result<bool, LoadError> {
    let path = plan_dir.join(&data.path);
    let found = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.len() == data.size => return Ok(true),
        Ok(metadata) if metadata.is_file() => format!("a file of {}", exact(metadata.len())),
        Ok(metadata) if metadata.is_dir() => "a folder".to_owned(),
        Ok(_) => "a symlink or device".to_owned(),
        Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(wrong) => return Err(LoadError::io(&path, "looking at it")(wrong)),
    };
    Err(LoadError::Occupied { path, expected: data.size, found })
}

/// Makes all test data of a plan that is not there yet, with progress as `mode` shows it. Of a job,
/// `rank` is this process's.
///
/// # Errors
/// If something else stands there (exit 4), the disk refuses (exit 5), or a person stops it (exit
/// 9).
pub(crate) fn generate_all(
    plan_dir: &Path,
    all: &[Generate],
    rank: Option<Rank>,
    mode: ProgressMode,
    watch: &Watch,
) -> Result<(), Failure> {
    for data in all {
        if is_generated(plan_dir, data).map_err(|error| Failure::from(&error))? {
            continue;
        }
        watch.go_on()?;
        let path = plan_dir.join(&data.path);
        let what = format!("generating {} ({})", path.display(), format_size(data.size));
        let mut step = Step::begin(mode, what, data.size);
        let mut progress = |done| {
            step.at(done);
            if watch.interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        generate(plan_dir, data, rank, &mut progress).map_err(|error| Failure::from(&error))?;
        step.end();
    }
    Ok(())
}

/// Makes the file if it is not there; returns whether it made it. It grows under its part name and
/// gets its own when it is whole. `progress` is called with how many of its bytes are made, after
/// every MiB, and may stop it. Of a job in which several processes may make the same file, `rank`
/// is this one's: then no process writes into the part of another, and the last one to finish gives
/// the file its name once more, with the same bytes.
///
/// # Errors
/// If something else stands there, the system refuses, or `progress` stopped it; the part is
/// removed then.
pub(super) fn generate(
    plan_dir: &Path,
    data: &Generate,
    rank: Option<Rank>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<bool, LoadError> {
    if is_generated(plan_dir, data)? {
        return Ok(false);
    }
    let path = plan_dir.join(&data.path);
    let part = part_of(&path, rank);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(LoadError::io(folder, "making this folder"))?;
    }
    match fs::remove_file(&part) {
        Err(wrong) if wrong.kind() != io::ErrorKind::NotFound => {
            return Err(LoadError::io(&part, "removing it")(wrong));
        }
        _ => {}
    }
    let made = fill(&part, data, progress);
    if made.is_err() {
        // The first fault is the one to report; the next run removes the part if this fails.
        let _ = fs::remove_file(&part);
    }
    made?;
    fs::rename(&part, &path).map_err(LoadError::io(&path, "renaming it"))?;
    Ok(true)
}

/// Where the file grows. It ends like every part file, so that no scan takes it for data and
/// `dunlin clean` knows it.
fn part_of(path: &Path, rank: Option<Rank>) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    if let Some(rank) = rank {
        name.push(format!(".rank{rank}"));
    }
    part_path(&path.with_file_name(name))
}

fn fill(
    part: &Path,
    data: &Generate,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<(), LoadError> {
    let mut file = File::create_new(part).map_err(LoadError::io(part, "making it"))?;
    let mut rng = Rng::new(data.seed);
    let mut buffer = vec![0; STEP];
    let mut done = 0;
    while done < data.size {
        let step = usize::try_from(data.size - done).unwrap_or(STEP).min(STEP);
        let Some(bytes) = buffer.get_mut(..step) else { break };
        for eight in bytes.chunks_mut(8) {
            let number = rng.next_u64().to_le_bytes();
            eight.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
        file.write_all(bytes).map_err(LoadError::io(part, "writing it"))?;
        done += step as u64;
        if progress(done).is_break() {
            return Err(LoadError::Interrupted { path: part.to_owned() });
        }
    }
    Ok(())
}

/// A size with its bytes, since two sizes may look alike in MiB.
fn exact(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", format_size(bytes))
}
