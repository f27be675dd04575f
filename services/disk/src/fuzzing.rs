//! Properties of the parsers, for fuzz targets and replay tests.

use crate::cache::format as cache;
use crate::claims::format::ClaimList;
use crate::resume::Resume;
use crate::state::State;

/// A resume file from anywhere: read without panic, and what is read is written back the same.
///
/// # Panics
/// If the property does not hold.
pub fn resume(data: &[u8]) {
    // With the checksum in the way no generator would ever reach the fields.
    if let Ok(resume) = Resume::decode_body(data) {
        let again = resume.encode_body();
        assert_eq!(Resume::decode_body(&again).as_ref(), Ok(&resume));
        assert_eq!(Resume::decode(&resume.encode()).as_ref(), Ok(&resume));
    }
    let _ = Resume::decode(data);
}

/// What is kept of a torrent, from anywhere: read without panic, and what is read is written back
/// the same.
///
/// # Panics
/// If the property does not hold.
pub fn state(data: &[u8]) {
    // With the checksum in the way no generator would ever reach the fields.
    if let Ok(state) = State::decode_body(data).map(|state| State { old: false, ..state }) {
        let again = state.encode_body();
        assert_eq!(State::decode_body(&again).as_ref(), Ok(&state));
        assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
    }
    let _ = State::decode(data);
}

/// A file of claims from anywhere: read without panic, and what is read is written back the same.
///
/// # Panics
/// If the property does not hold.
pub fn claims(data: &[u8]) {
    // With the checksum in the way no generator would ever reach the fields.
    if let Ok(list) = ClaimList::decode_body(data) {
        let again = list.encode_body();
        assert_eq!(ClaimList::decode_body(&again).as_ref(), Ok(&list));
        assert_eq!(ClaimList::decode(&list.encode()).as_ref(), Ok(&list));
    }
    let _ = ClaimList::decode(data);
}

/// A file of hash lists from anywhere: read without panic, and what is read is written back the
/// same.
///
/// # Panics
/// If the property does not hold.
pub fn hashes(data: &[u8]) {
    // With the checksum in the way no generator would ever reach the entries.
    if let Ok(entries) = cache::decode_body(data) {
        let listed = || entries.iter().map(|(path, entry)| (path.as_slice(), entry));
        let again = cache::encode_body(listed(), u64::MAX);
        assert_eq!(cache::decode_body(&again).as_ref(), Ok(&entries));
        assert_eq!(cache::decode(&cache::encode(listed(), u64::MAX)).as_ref(), Ok(&entries));
    }
    let _ = cache::decode(data);
}
