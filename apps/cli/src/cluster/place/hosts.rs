//! Lists of hosts: from `--hosts` or a file, with the ranks that each is to have.

use crate::exit::Failure;
use dunlin_plan::{MAX_HOSTS, expand_hosts};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file of hosts or racks in bytes: it is held in memory as a whole.
const MAX_FILE: u64 = 16 << 20;

/// The lines of a file that are not empty, with their numbers from 1. What follows a `#` is a
/// comment.
///
/// # Errors
/// If the file cannot be read, is too large or no text (exit 4).
pub(crate) fn lines(path: &Path) -> Result<Vec<(usize, String)>, Failure> {
    let fault = |what: String| Failure::input(format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| fault(format!("it cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(format!("it cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fault(
            "expected at most 16 MiB, found more; check that it is the right file".into(),
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| fault("expected text (UTF-8), found other bytes".to_owned()))?;
    let said = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let numbered = text.lines().map(said).zip(1..).map(|(line, number)| (number, line));
    Ok(numbered.filter(|(_, line)| !line.is_empty()).collect())
}

/// Hosts of a file, one for each rank that is to run there.
///
/// # Errors
/// If the file cannot be read, or a line is no host (exit 4).
pub(crate) fn of_file(path: &Path) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for (number, line) in lines(path)? {
        let fault = |why: &str| {
            Failure::input(format!(
                "{}:{number}: expected a host like n01 or `n01 slots=2`, found `{line}`{why}",
                path.display()
            ))
        };
        let mut words = line.split_whitespace();
        let hosts = expand_hosts(words.next().unwrap_or_default());
        let hosts = hosts.map_err(|why| fault(&format!(", {why}")))?;
        let mut slots = 1;
        for word in words {
            match word.split_once('=') {
                Some(("slots", count)) => {
                    let count = count.parse().ok().filter(|count| (1..=4096).contains(count));
                    slots = count.ok_or_else(|| fault(", and slots are 1 to 4096"))?;
                }
                // What other launchers read of the same file.
                Some(("max_slots" | "max-slots", _)) => {}
                _ => return Err(fault(", with a word that is none of ours")),
            }
        }
        if all.len().saturating_add(hosts.len().saturating_mul(slots)) > MAX_HOSTS {
            return Err(fault(", and there are at most 100000 ranks"));
        }
        all.extend(hosts.iter().flat_map(|host| std::iter::repeat_n(host.clone(), slots)));
    }
    if all.is_empty() {
        return Err(Failure::input(format!(
            "{}: expected hosts, one a line, found none",
            path.display()
        )));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, text).unwrap();
        of_file(&path)
    }

    #[test]
    fn a_host_a_line_with_its_slots() {
        let text = "# all of them\nn[01-02] slots=2 # two each\n\n m1\nq max_slots=9\n";
        let hosts = read(text).unwrap();
        assert_eq!(hosts, ["n01", "n01", "n02", "n02", "m1", "q"]);
    }

    #[test]
    fn what_is_no_host_is_named_with_its_line() {
        for (text, part) in [
            ("", "found none"),
            ("# nobody", "found none"),
            ("a\nn[1\n", ":2: expected a host"),
            ("a slots=0", ":1: expected a host"),
            ("a slots=x", "slots are 1 to 4096"),
            ("a b", "none of ours"),
        ] {
            let failure = read(text).unwrap_err();
            assert!(failure.message.contains(part), "{text}: {failure}");
        }
        assert!(lines(Path::new("/nowhere/at/all")).is_err());
    }
}
