//! Globs over relative names: `*` and `?` stay in one component, `[a-z]` and `[!a-z]` are classes,
//! `**` stands for any number of components, and `NAME/***` for `NAME` itself and all below it. A
//! leading dot is a character like any other.

use dunlin_metainfo::is_escaped_well;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The longest pattern in bytes: the longest path that Linux opens.
pub const MAX_PATTERN: usize = 4096;

/// The last component of a pattern that stands for what is before it, and for all below that.
const SELF_AND_BELOW: &str = "***";

/// Why a text is no pattern. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatternError {
    /// No text at all.
    #[error("it is empty; write `**` for everything")]
    Empty,
    /// Over [`MAX_PATTERN`] bytes.
    #[error("it has {0} bytes; at most {MAX_PATTERN} are a path")]
    TooLong(usize),
    /// It begins with `/`.
    #[error("it is absolute; names are relative to the peer's folder")]
    Absolute,
    /// A component is `.` or `..`.
    #[error("it has a `{0}`; names stay below the peer's folder")]
    Dots(String),
    /// Two slashes in a row or one at the end.
    #[error("it has an empty part; write `folder/**` for all below a folder")]
    EmptyComponent,
    /// A backslash that is no part of an escaped name.
    #[error("it has a backslash; folders are parted by `/`, and `[*]` is a plain star")]
    Backslash,
    /// A control character.
    #[error("it has a control character; no name may have one")]
    Control,
    /// `**` beside other characters.
    #[error("it has `**` beside other characters; `**` stands alone between slashes")]
    DoubleStar,
    /// A `[` without its `]`.
    #[error("it has a `[` without its `]`; write `[[]` for a plain bracket")]
    OpenClass,
    /// A range like `z-a`.
    #[error("it has the range `{0}-{1}`, which is backwards; turn it round")]
    Backwards(char, char),
}

/// A name or glob. Two are equal if their texts are. A clone shares the text: a plan may hold the
/// same pattern for 100 000 ranks.
#[derive(Clone)]
pub struct Pattern(Arc<Parsed>);

struct Parsed {
    text: String,
    components: Vec<Component>,
    literal: bool,
}

enum Component {
    /// `**`: any number of components, none too.
    Any,
    Glob(Vec<Part>),
}

enum Part {
    Star,
    One,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If the text is empty, too long, absolute, could leave its folder, or is no glob.
    ///
    /// ```
    /// let pattern = dunlin_plan::Pattern::parse("model/**/layer-[0-4].bin")?;
    /// assert!(pattern.matches("model/layer-3.bin"));
    /// assert!(pattern.matches("model/a/b/layer-0.bin"));
    /// assert!(!pattern.matches("model/layer-7.bin"));
    /// # Ok::<(), dunlin_plan::PatternError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        check(text)?;
        let mut components = Vec::new();
        let mut literal = true;
        for component in text.split('/') {
            match component {
                "**" | SELF_AND_BELOW if matches!(components.last(), Some(Component::Any)) => {}
                "**" | SELF_AND_BELOW => components.push(Component::Any),
                _ => {
                    let parts = parse_component(component)?;
                    literal &= parts.iter().all(|part| matches!(part, Part::Char(_)));
                    components.push(Component::Glob(parts));
                    continue;
                }
            }
            literal = false;
        }
        // A folder is no file: `model/**` needs something below `model`.
        let itself = text.ends_with(SELF_AND_BELOW);
        if matches!(components.last(), Some(Component::Any)) && !itself {
            components.push(Component::Glob(vec![Part::Star]));
        }
        Ok(Pattern(Arc::new(Parsed { text: text.to_owned(), components, literal })))
    }

    /// The pattern for `name` itself, be it a file, and for all below it, be it a folder. With an
    /// empty `name`: for everything.
    ///
    /// # Errors
    /// If the name could leave its folder, or is too long.
    ///
    /// ```
    /// let pattern = dunlin_plan::Pattern::tree("a[1]")?;
    /// assert!(pattern.matches("a[1]") && pattern.matches("a[1]/b/c"));
    /// assert!(!pattern.matches("a1") && !pattern.matches("a[1]b"));
    /// # Ok::<(), dunlin_plan::PatternError>(())
    /// ```
    pub fn tree(name: &str) -> Result<Pattern, PatternError> {
        if name.is_empty() {
            return Pattern::parse("**");
        }
        let mut text = Pattern::escape(name);
        text.push('/');
        text.push_str(SELF_AND_BELOW);
        Pattern::parse(&text)
    }

    /// The text of a pattern for this name alone: what would mean more stands in a class of its
    /// own.
    #[must_use]
    pub fn escape(name: &str) -> String {
        let mut text = String::with_capacity(name.len());
        for c in name.chars() {
            match c {
                '*' | '?' | '[' => text.extend(['[', c, ']']),
                _ => text.push(c),
            }
        }
        text
    }

    /// Whether the pattern stands for `name`, a relative path with `/`. The work is at most the
    /// product of the two lengths, whatever the pattern.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.0.literal {
            return self.0.text == name;
        }
        if name.is_empty() {
            return false;
        }
        let is_any = |component: &Component| matches!(component, Component::Any);
        wild(&self.0.components, name.split('/'), is_any, |component, part: &str| match component {
            Component::Any => true,
            Component::Glob(parts) => matches_component(parts, part),
        })
    }

    /// Whether the pattern is a plain name: no `*`, `?`, `[` or `**`.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.0.literal
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

fn check(text: &str) -> Result<(), PatternError> {
    match text {
        "" => return Err(PatternError::Empty),
        _ if text.len() > MAX_PATTERN => return Err(PatternError::TooLong(text.len())),
        _ if text.starts_with('/') => return Err(PatternError::Absolute),
        _ if !is_escaped_well(text) && text.contains('\\') => return Err(PatternError::Backslash),
        _ if text.chars().any(char::is_control) => return Err(PatternError::Control),
        _ => {}
    }
    let mut components = text.split('/').peekable();
    let mut first = true;
    while let Some(component) = components.next() {
        let alone = std::mem::replace(&mut first, false);
        match component {
            "" => return Err(PatternError::EmptyComponent),
            "." | ".." => return Err(PatternError::Dots(component.to_owned())),
            "**" => {}
            SELF_AND_BELOW if !alone && components.peek().is_none() => {}
            _ if component.contains("**") => return Err(PatternError::DoubleStar),
            _ => {}
        }
    }
    Ok(())
}

fn parse_component(text: &str) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Star,
            '?' => Part::One,
            '[' => parse_class(&mut chars)?,
            _ => Part::Char(c),
        });
    }
    Ok(parts)
}

/// The rest of a class after its `[`. A `]` that comes first is a member, as in the shell.
fn parse_class(chars: &mut std::str::Chars<'_>) -> Result<Part, PatternError> {
    let mut next = || chars.next().ok_or(PatternError::OpenClass);
    let mut ranges = Vec::new();
    let mut c = next()?;
    let negated = matches!(c, '!' | '^');
    if negated {
        c = next()?;
    }
    loop {
        let mut after = next()?;
        let mut last = c;
        if after == '-' {
            after = next()?;
            if after == ']' {
                ranges.extend([(c, c), ('-', '-')]);
                return Ok(Part::Class { negated, ranges });
            }
            last = after;
            after = next()?;
        }
        if c > last {
            return Err(PatternError::Backwards(c, last));
        }
        ranges.push((c, last));
        if after == ']' {
            return Ok(Part::Class { negated, ranges });
        }
        c = after;
    }
}

fn matches_component(parts: &[Part], component: &str) -> bool {
    let is_star = |part: &Part| matches!(part, Part::Star);
    wild(parts, component.chars(), is_star, |part, c| match part {
        Part::Star | Part::One => true,
        Part::Char(expected) => *expected == c,
        Part::Class { negated, ranges } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
        }
    })
}

/// Matches items against a pattern with stars. Only the last star is ever tried again: what an
/// earlier one could win, the last can win too. So the cost is a product and never a power.
fn wild<P, I: Iterator + Clone>(
    pattern: &[P],
    mut items: I,
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, I::Item) -> bool,
) -> bool {
    let mut at = 0;
    let mut retry: Option<(usize, I)> = None;
    loop {
        let fitted = match pattern.get(at) {
            Some(part) if is_star(part) => {
                retry = Some((at + 1, items.clone()));
                true
            }
            Some(part) => items.next().is_some_and(|item| fits(part, item)),
            None if items.next().is_none() => return true,
            None => false,
        };
        if fitted {
            at += 1;
            continue;
        }
        let Some((after_star, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        at = *after_star;
        items = from.clone();
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text.fmt(f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

#[cfg(test)]
mod tests;
