//! Rust sources as words: comments and literals taken out, tests taken out, every word with its
//! line.

/// A Rust source.
pub(crate) struct Source {
    /// Its path, relative to the repository.
    pub(crate) path: String,
    /// Its text as it stands.
    pub(crate) text: String,
    /// Its words without comments, literals and `#[cfg(test)]` items.
    pub(crate) words: Vec<Word>,
    /// How many lines it has, `#[cfg(test)]` items left out.
    pub(crate) lines: usize,
}

/// A name, a number, or a sign (`::` is one sign), and its line from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word.
    pub(crate) text: String,
    /// Its line.
    pub(crate) line: usize,
}

impl Word {
    /// Whether it is a name or keyword.
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

impl Source {
    /// Reads a source.
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (words, tested) = without_tests(words(&strip(text)));
        let lines = text.lines().count() - tested;
        Source { path: path.to_owned(), text: text.to_owned(), words, lines }
    }

    /// Whether the whole file is a test, a bench, an example or a helper of one.
    pub(crate) fn is_test(&self) -> bool {
        let parts = || self.path.split('/');
        let folder = |name: &&str| parts().skip(1).any(|part| part == *name);
        let folders = ["tests", "benches", "examples"];
        folders.iter().any(folder) || parts().next_back() == Some("tests.rs")
    }

    /// Whether it only computes: `protocol/`, `engine/`, and the network in virtual time.
    pub(crate) fn is_pure(&self) -> bool {
        self.path.starts_with("protocol/") || self.is_engine() || self.is_simnet()
    }

    /// Whether it stands in `services/simnet/`.
    pub(crate) fn is_simnet(&self) -> bool {
        self.path.starts_with("services/simnet/")
    }

    /// Whether it stands in `engine/`.
    pub(crate) fn is_engine(&self) -> bool {
        self.path.starts_with("engine/")
    }
}

/// Blanks out comments and the inside of literals; lines stay where they are.
pub(crate) fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            // A literal stays one: a string that is gone would let two words meet.
            out.push(' ');
            out.extend(chars[at..end].iter().filter(|c| **c == '\n'));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let get = |index: usize| chars.get(index).copied().unwrap_or('\0');
    match (get(at), get(at + 1)) {
        ('/', '/') => find(chars, at, |index| get(index) == '\n'),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => quoted_end(chars, at + 1, '"'),
        ('\'', '\\') => quoted_end(chars, at + 1, '\''),
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        ('r', '"' | '#') if !inside_a_word(chars, at) => raw_end(chars, at),
        _ => at,
    }
}

/// Whether the character before is part of a name; `b` and `c` before `r` are a prefix.
fn inside_a_word(chars: &[char], at: usize) -> bool {
    let word = |index: usize| chars.get(index).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match at.checked_sub(1).and_then(|index| chars.get(index)) {
        Some('b' | 'c') => at.checked_sub(2).is_some_and(word),
        Some(_) => word(at - 1),
        None => false,
    }
}

fn find(chars: &[char], from: usize, test: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|index| test(*index)).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    index
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let open = find(chars, at + 1, |index| chars[index] != '#');
    if chars.get(open) != Some(&'"') {
        // A raw name such as `r#type`.
        return at;
    }
    let hashes = open - at - 1;
    let closes = |index: usize| {
        chars[index] == '"' && (1..=hashes).all(|more| chars.get(index + more) == Some(&'#'))
    };
    (find(chars, open + 1, closes) + 1 + hashes).min(chars.len())
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut line, mut glued) = (1, false);
    for c in text.chars() {
        let name = |c: char| c.is_alphanumeric() || c == '_';
        // The second number of `x.0.1` is a field.
        let field = words.len() >= 2 && words[words.len() - 2].text == ".";
        let last = words.last_mut().filter(|_| glued);
        match last {
            Some(word) if name(c) && word.text.ends_with(name) => word.text.push(c),
            Some(word) if c == ':' && word.text == ":" => word.text.push(':'),
            // A float such as `0.5`; `0..5` and `x.0.len()` are none.
            Some(word) if c == '.' && !field && word.text.chars().all(|c| c.is_ascii_digit()) => {
                word.text.push('.');
            }
            Some(word) if is_open_float(&word.text) && c.is_ascii_digit() => word.text.push(c),
            _ if !c.is_whitespace() => words.push(Word { text: c.to_string(), line }),
            _ => {}
        }
        glued = !c.is_whitespace();
        line += usize::from(c == '\n');
    }
    words
}

/// Digits and a point.
fn is_open_float(text: &str) -> bool {
    text.strip_suffix('.')
        .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
}

/// The words without items under `#[cfg(test)]`, and how many lines those take.
fn without_tests(words: Vec<Word>) -> (Vec<Word>, usize) {
    let marks = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(words.len());
    let (mut at, mut lines) = (0, 0);
    while at < words.len() {
        let is = |(index, mark): (usize, &&str)| {
            words.get(at + index).is_some_and(|word| word.text == **mark)
        };
        if !marks.iter().enumerate().all(is) {
            kept.push(words[at].clone());
            at += 1;
            continue;
        }
        let end = item_end(&words, at + marks.len());
        lines += words[end - 1].line - words[at].line + 1;
        at = end;
    }
    (kept, lines)
}

/// Where the item that begins at `at` ends: after its `;`, or after its braces.
fn item_end(words: &[Word], mut at: usize) -> usize {
    let mut first = "";
    let mut depth = 0_usize;
    while let Some(word) = words.get(at) {
        at += 1;
        match word.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                let block = word.text == "}" && !["use", "const", "static"].contains(&first);
                if depth == 0 && block {
                    break;
                }
            }
            ";" if depth == 0 => break,
            name if depth == 0 && first.is_empty() && word.is_name() && name != "pub" => {
                first = name;
            }
            _ => {}
        }
    }
    at
}
