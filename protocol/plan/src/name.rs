//! Which names and paths a plan may write: relative, with `/`, inside their folder.

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

/// Whether `path` is a relative path that stays below its folder: components with `/` between
/// them, none empty, `.` or `..`.
///
/// # Errors
/// A clause that says what is wrong.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("which is absolute".to_owned());
    }
    if path.split('/').any(|component| component == "..") {
        return Err("which has `..` and could leave its folder".to_owned());
    }
    if path.contains('\\') {
        return Err("which has a backslash: `/` stands between folders".to_owned());
    }
    match path.split('/').find_map(|component| check_component(component).err()) {
        Some(why) if path.is_empty() => Err(why),
        Some(_) if path.split('/').any(str::is_empty) => Err("which has an empty part".to_owned()),
        Some(_) if path.split('/').any(|part| part == ".") => Err("which has a `.`".to_owned()),
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// Whether `inner` is `outer` or lies below it. The empty path is the folder that holds all.
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    outer.is_empty()
        || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
