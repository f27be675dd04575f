//! Descriptors are a budget of the whole process: files that are kept open use a part of it, and
//! when the system has none left, files that nobody reads just now are closed, and the call waits.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a call waits for a descriptor: others hold most of them for as long as one file is read
/// or one connection is greeted. After that the shortage is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Somebody who keeps files open, and can do without.
pub(crate) trait Keeps: Send + Sync {
    /// Closes the file that was used longest ago; false if there is none.
    fn close_one(&self) -> bool;
}

/// Everybody who keeps files open.
static KEEPERS: Mutex<Vec<Weak<dyn Keeps>>> = Mutex::new(Vec::new());

/// From now on files of this keeper are closed when there are no descriptors left.
pub(crate) fn register(keeper: Weak<dyn Keeps>) {
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    keepers.push(keeper);
}

/// Removes keepers that are gone.
pub(crate) fn unregister_dead() {
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    keepers.retain(|keeper| keeper.strong_count() > 0);
    if keepers.is_empty() {
        keepers.shrink_to_fit();
    }
}

fn close_one() -> bool {
    let keepers: Vec<_> = {
        let keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.iter().filter_map(Weak::upgrade).collect()
    };
    // Everybody gives one, so that nobody is left with none while others keep theirs.
    keepers.iter().filter(|keeper| keeper.close_one()).count() > 0
}

/// Makes a call that needs a descriptor, again and again while there is none.
pub(super) fn with_room<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut since: Option<Instant> = None;
    loop {
        let error = match call() {
            Err(error @ (Errno::MFILE | Errno::NFILE)) => error,
            answer => return answer,
        };
        let begun = *since.get_or_insert_with(Instant::now);
        if begun.elapsed() >= PATIENCE {
            return Err(error);
        }
        if !close_one() {
            std::thread::sleep(PAUSE);
        }
    }
}

/// How many descriptors this process may have open: `wanted`, or as many as the system lets it ask
/// for; more where it had more before.
///
/// # Errors
/// What the system says, where it knows of no such limit.
pub fn allow_descriptors(wanted: usize) -> io::Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = wanted as u64;
    let enough = |most: Option<u64>| most.is_none_or(|most| most >= wanted);
    if !enough(limit.current) {
        let current = if enough(limit.maximum) { Some(wanted) } else { limit.maximum };
        // What is refused shows below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    }
    let now = getrlimit(Resource::Nofile).current;
    Ok(now.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Shelf(AtomicUsize);

    impl Keeps for Shelf {
        fn close_one(&self) -> bool {
            self.0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
        }
    }

    #[test]
    fn a_shortage_closes_what_is_kept_and_then_waits() {
        let shelf = Arc::new(Shelf(AtomicUsize::new(2)));
        let keeper: Weak<dyn Keeps> = Arc::downgrade(&shelf) as Weak<dyn Keeps>;
        register(keeper);
        let mut calls = 0;
        let answer = with_room(|| {
            calls += 1;
            if calls < 5 { Err(Errno::MFILE) } else { Ok(calls) }
        });
        assert_eq!(answer, Ok(5));
        assert_eq!(shelf.0.load(Ordering::Relaxed), 0);
        assert_eq!(with_room(|| Err::<(), _>(Errno::NOENT)), Err(Errno::NOENT), "no shortage");
    }
}
