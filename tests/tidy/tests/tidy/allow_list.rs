//! How many complaints of a rule each crate may still have. A number only falls: a crate that has
//! fewer complaints than its row fails too, so that a row goes when it is no longer needed.

/// Rule, folder of the crate, complaints.
const LEFT: &[(&str, &str, usize)] = &[];

/// Which complaints of a crate the list does not cover.
pub(crate) fn settle(rule: &str, folder: &str, found: Vec<String>) -> Vec<String> {
    settle_by(LEFT, rule, folder, found)
}

/// The same by a given list.
pub(crate) fn settle_by(
    list: &[(&str, &str, usize)],
    rule: &str,
    folder: &str,
    mut found: Vec<String>,
) -> Vec<String> {
    let row = list.iter().find(|row| row.0 == rule && row.1 == folder);
    let allowed = row.map_or(0, |row| row.2);
    let place = "tests/tidy/tests/tidy/allow_list.rs:1: the row";
    let (fewer, none) = (found.len() < allowed, row.is_some() && found.is_empty());
    if none {
        return vec![format!("{place} ({rule:?}, {folder:?}) is no longer needed; remove it")];
    }
    if fewer {
        let now = found.len();
        return vec![format!("{place} ({rule:?}, {folder:?}, {allowed}) is too high; write {now}")];
    }
    if found.len() == allowed {
        return Vec::new();
    }
    found.push(format!("{place} ({rule:?}, {folder:?}) allows {allowed} of these"));
    found
}
