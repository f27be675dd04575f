//! Locks that forgive poison: what a thread that panicked left behind is still whole here, since
//! every change under a lock is made in one step. Nothing below the services may lock, so each
//! crate that does has this function for itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, whatever became of the thread that had it last.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
