//! Markdown is as wide as code.

/// Columns of a line.
const COLUMNS: usize = 100;

/// Lines that are longer. A table, a code block and a word that cannot be broken, such as a link,
/// may be.
pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if start.starts_with("```") {
            code = !code;
        }
        let table = start.starts_with('|');
        let columns = line.chars().count();
        if columns > COLUMNS && !code && !table && can_be_broken(line) {
            let place = format!("{path}:{}", index + 1);
            found.push(format!("{place}: {columns} columns, at most {COLUMNS}; wrap it"));
        }
    }
    found
}

/// Whether a line has two words or more, apart from links.
fn can_be_broken(line: &str) -> bool {
    let link = |word: &&str| word.contains("](") || word.contains("://") || word.starts_with('[');
    line.split_whitespace().filter(|word| !link(word)).count() > 1
}
