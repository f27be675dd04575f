//! Markdown, comments and code have one width.

use crate::scan::strip;

/// Columns of a line.
const COLUMNS: usize = 100;

/// Lines of a page that are longer. A table, a code block and a word that cannot be broken, such as
/// a link, may be.
pub(crate) fn check_page(path: &str, text: &str) -> Vec<String> {
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
            found.push(complaint(path, index, columns));
        }
    }
    found
}

/// Lines of a source that are longer. A string may be, and in comments what may be in a page.
pub(crate) fn check_source(path: &str, text: &str) -> Vec<String> {
    let stripped = strip(text);
    let mut code_lines = stripped.lines();
    let mut found = Vec::new();
    let mut block = false;
    for (index, line) in text.lines().enumerate() {
        let code = code_lines.next().unwrap_or_default();
        let comment = line
            .trim_start()
            .strip_prefix("//")
            .map(|rest| rest.strip_prefix(['/', '!']).unwrap_or(rest).trim_start());
        block = match comment {
            Some(words) => block != words.starts_with("```"),
            None => false,
        };
        let columns = line.chars().count();
        if columns <= COLUMNS {
            continue;
        }
        let is_long = match comment {
            Some(words) => !block && !words.starts_with('|') && can_be_broken(words),
            // What is behind a string moves with it; a comment behind code can stand above it.
            None => code.chars().count() > COLUMNS || !line.contains('"') && line.contains("//"),
        };
        if is_long {
            found.push(complaint(path, index, columns));
        }
    }
    found
}

fn complaint(path: &str, index: usize, columns: usize) -> String {
    format!("{path}:{}: {columns} columns, at most {COLUMNS}; wrap it", index + 1)
}

/// Whether a line has two words or more, apart from links.
fn can_be_broken(line: &str) -> bool {
    let link = |word: &&str| word.contains("](") || word.contains("://") || word.starts_with('[');
    line.split_whitespace().filter(|word| !link(word)).count() > 1
}
