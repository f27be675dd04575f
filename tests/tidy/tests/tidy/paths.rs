//! Every path that a source names, spelled out: braces opened, aliases followed.

use crate::scan::{Source, Word};
use std::collections::BTreeMap;

/// Aliases of aliases that are followed; more would go round in circles.
const MAX_ALIASES: usize = 8;

/// A path such as `std::fs::File`, spelled out, and the line that names it. A glob import ends
/// with `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its parts; `core` and `alloc` are written `std`.
    pub(crate) parts: Vec<String>,
    /// The line.
    pub(crate) line: usize,
}

impl Named {
    /// Whether the path is `prefix`, or lies below it.
    pub(crate) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.parts.len() >= prefix.len() && prefix.iter().zip(&self.parts).all(|(a, b)| a == b)
    }
}

/// What a source calls by another name, by that name.
pub(crate) type Aliases = BTreeMap<String, Vec<String>>;

/// All paths of a source. Aliases count for the whole file: stricter than the language.
pub(crate) fn named(source: &Source) -> Vec<Named> {
    imports(source).0
}

/// All paths of a source, and what its imports call each name.
pub(crate) fn imports(source: &Source) -> (Vec<Named>, Aliases) {
    let words = &source.words;
    let mut aliases = Aliases::new();
    let mut found = Vec::new();
    let mut rest = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        // `use<'a>` in a return type is no import.
        let imports = words.get(at).is_some_and(|next| next.text != "<");
        if word.text == "use" && imports {
            let mut tree = Tree { words, at, found: &mut found, aliases: &mut aliases };
            tree.read(&[]);
            at = tree.at;
        } else if word.text == "crate" && at >= 2 && words[at - 2].text == "extern" {
            let get = |index: usize| words.get(index).map_or("", |word| word.text.as_str());
            if get(at + 1) == "as" {
                aliases.insert(get(at + 2).to_owned(), vec![get(at).to_owned()]);
            }
        } else if word.is_name() && !follows_a_path(words, at - 1) {
            let mut parts = vec![word.text.clone()];
            while let [colons, next, ..] = words.get(at..).unwrap_or_default()
                && colons.text == "::"
                && next.is_name()
            {
                parts.push(next.text.clone());
                at += 2;
            }
            rest.push(Named { parts, line: word.line });
        }
    }
    found.extend(rest);
    found.iter_mut().for_each(|named| spell_out(&mut named.parts, &aliases));
    let mut spelled = aliases.clone();
    spelled.values_mut().for_each(|parts| spell_out(parts, &aliases));
    (found, spelled)
}

/// Whether the word at `at` belongs to a path that began before it, as in `<T as X>::name` or
/// `value.name`.
fn follows_a_path(words: &[Word], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| words.get(index));
    match before(1).map(|word| word.text.as_str()) {
        Some(".") => true,
        // `::std::fs` begins here; `>::name` goes on.
        Some("::") => before(2).is_some_and(|word| word.is_name() || word.text == ">"),
        _ => false,
    }
}

fn spell_out(parts: &mut Vec<String>, aliases: &Aliases) {
    for _ in 0..MAX_ALIASES {
        let Some(first) = parts.first() else { return };
        match aliases.get(first) {
            Some(whole) if whole.first() != Some(first) || whole.len() > 1 => {
                parts.splice(..1, whole.iter().cloned());
            }
            _ => break,
        }
    }
    if let Some(first) = parts.first_mut().filter(|first| *first == "core" || *first == "alloc") {
        "std".clone_into(first);
    }
}

/// The tree of one `use`.
struct Tree<'a> {
    words: &'a [Word],
    at: usize,
    found: &'a mut Vec<Named>,
    aliases: &'a mut Aliases,
}

impl Tree<'_> {
    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", |word| &word.text)
    }

    /// One branch below `prefix`, up to its `,`, `}` or `;`.
    fn read(&mut self, prefix: &[String]) {
        let mut parts = prefix.to_vec();
        while let Some(word) = self.next() {
            match word.text.as_str() {
                "::" => {}
                "{" => {
                    while !matches!(self.peek(), "}" | ";" | "") {
                        self.read(&parts);
                        if self.peek() == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "as" => {
                    let name = self.next().map(|word| word.text).unwrap_or_default();
                    return self.end(parts, &name, word.line);
                }
                "self" if !prefix.is_empty() => {}
                _ => parts.push(word.text.clone()),
            }
            if matches!(self.peek(), "," | "}" | ";" | "") {
                let name = parts.last().cloned().unwrap_or_default();
                return self.end(parts, &name, word.line);
            }
        }
    }

    fn end(&mut self, parts: Vec<String>, name: &str, line: usize) {
        if name != "_" && name != "*" {
            self.aliases.insert(name.to_owned(), parts.clone());
        }
        self.found.push(Named { parts, line });
    }
}
