//! Files that a macro declares: `cargo fmt` follows only declarations that stand by themselves.

use crate::house::House;
use std::process::Command;

/// Formats every file below a module whose macro takes `mod name;`, as `cargo fmt --check` does.
pub(crate) fn check_format(house: &House) -> Vec<String> {
    let declares = |text: &str| text.contains("($(mod $module:ident;)+)");
    let tops = house.sources.iter().filter(|source| !source.is_test() && declares(&source.text));
    let folders: Vec<&str> = tops.filter_map(|top| top.path.strip_suffix(".rs")).collect();
    let below = |path: &str| {
        let mut rests = folders.iter().filter_map(|folder| path.strip_prefix(folder));
        rests.any(|rest| rest.starts_with('/'))
    };
    let files = house.sources.iter().filter(|source| below(&source.path));
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.current_dir(&house.root).args(["--check", "-l", "--edition", "2024"]);
    let output = rustfmt.args(files.map(|source| &source.path)).output();
    match output {
        Ok(output) if output.status.success() => Vec::new(),
        Ok(output) => {
            let files = String::from_utf8_lossy(&output.stdout).into_owned();
            vec![format!("run `rustfmt --edition 2024` on:\n{files}")]
        }
        Err(error) => vec![format!("rustfmt does not run: {error}; install it beside cargo")],
    }
}
