//! Which names and paths a plan may write: relative, with `/`, inside their folder.

use dunlin_metainfo::{NameError, check_name};

/// Whether `name` is one component: what a file of the course format may be called.
///
/// # Errors
/// A clause that says what is wrong.
pub(crate) fn check_component(name: &str) -> Result<(), String> {
    let why = match name {
        "" => "which is empty",
        "." | ".." => "which is a folder",
        _ if name.contains('/') => "which has a slash",
        _ if name.contains('\\') => "which has a backslash",
        _ if name.chars().any(char::is_control) => "which has a control character",
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

/// Whether `path` is a relative path that stays below its folder.
///
/// # Errors
/// A clause that says what is wrong.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let why = match check_name(path) {
        // Paths of plans are text; they escape nothing.
        Ok(()) if path.contains('\\') => {
            "which has a backslash: folders are parted by `/`".to_owned()
        }
        Ok(()) => return Ok(()),
        Err(NameError::Empty) => "which is empty".to_owned(),
        Err(NameError::Absolute(_)) => "which is absolute".to_owned(),
        Err(NameError::Dots(_)) => "which has a `.` or `..`".to_owned(),
        Err(NameError::EmptyComponent(_)) => "which has an empty part".to_owned(),
        Err(NameError::Backslash(_)) => "which has a backslash: folders are parted by `/`".into(),
        Err(NameError::Control(_)) => "which has a control character".to_owned(),
        Err(NameError::LongComponent { found, .. }) => format!("which has a part of {found} bytes"),
        Err(NameError::TooDeep { found, .. }) => format!("which is {found} folders deep"),
    };
    Err(why)
}

/// Whether `inner` is `outer` or lies below it. The empty path is the folder that holds all.
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    outer.is_empty()
        || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
