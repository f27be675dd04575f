//! What must hold for any bytes. Called by the fuzz target and by the replay of its corpus.

use crate::{
    CourseInput, Pattern, PlanError, TomlPlan, parse_course, parse_place, parse_toml, parse_wants,
    token_line,
};
use std::fmt::Write as _;

/// Reads the bytes as one of the four texts of a plan; the first byte chooses (modulo 4, so that
/// the digits work): 0 course format, 1 `plan.toml`, 2 `wants`, 3 a pattern and, on a second line,
/// a name.
///
/// # Panics
/// If a parser breaks a promise: what is read, written and read again must be the same.
pub fn plan(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => course(rest),
        1 => toml(rest),
        2 => wants(rest),
        _ => pattern(rest),
    }
}

fn course(data: &[u8]) {
    match parse_course("in1.txt", data) {
        Ok(input) => {
            let tokens: usize = input.owned.iter().map(|file| file.tokens.len()).sum();
            assert!(tokens <= data.len(), "more tokens than bytes");
            let again: CourseInput =
                parse_course("in1.txt", &input.to_text()).expect("what was written is read");
            assert_eq!(input, again);
            lines(data, &input);
        }
        Err(wrong) => {
            let _ = token_line(data, "a", Some(1));
            check_error(&wrong, data);
        }
    }
}

/// Every token stands at or below its file's name. A few files only: each look reads all.
fn lines(data: &[u8], input: &CourseInput) {
    for file in input.owned.iter().take(4) {
        let heading = token_line(data, &file.name, None).expect("an owned file has a line");
        let last = file.tokens.len().checked_sub(1);
        let line = last.map_or(Some(heading), |last| token_line(data, &file.name, Some(last)));
        assert!(line.is_some_and(|line| line >= heading), "{}", file.name);
        assert_eq!(token_line(data, &file.name, Some(file.tokens.len())), None);
    }
}

fn toml(data: &[u8]) {
    let swarm = toml_by(parse_toml, data);
    let place = toml_by(parse_place, data);
    assert!(swarm.is_none() || swarm == place, "a plan for swarm can be placed as it is");
}

type Parse = fn(&str, &[u8]) -> Result<TomlPlan, PlanError>;

fn toml_by(parse: Parse, data: &[u8]) -> Option<TomlPlan> {
    match parse("plan.toml", data) {
        Ok(plan) => {
            let again = parse("plan.toml", render(&plan).as_bytes());
            let mut again = again.expect("what was written is read");
            for (again, first) in again.nodes.iter_mut().zip(&plan.nodes) {
                again.line = first.line;
            }
            for (again, first) in again.pins.iter_mut().zip(&plan.pins) {
                again.line = first.line;
            }
            assert_eq!(plan, again);
            Some(plan)
        }
        Err(wrong) => {
            check_error(&wrong, data);
            None
        }
    }
}

fn wants(data: &[u8]) {
    match parse_wants("wants", data) {
        Ok(wants) => {
            let lines: Vec<&str> = wants.iter().map(Pattern::as_str).collect();
            // A first line of its own, since a byte order mark counts only at the very start.
            let again = parse_wants("wants", format!("\n{}", lines.join("\n")).as_bytes());
            assert_eq!(again.as_ref(), Ok(&wants));
        }
        Err(wrong) => check_error(&wrong, data),
    }
}

fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, name) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(pattern) = Pattern::parse(text) else { return };
    assert_eq!(pattern.as_str(), text);
    let matches = pattern.matches(name);
    if pattern.is_literal() {
        assert!(pattern.matches(text), "a name is itself");
        assert_eq!(matches, text == name);
    }
}

fn check_error(wrong: &crate::PlanError, data: &[u8]) {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!((1..=lines).contains(&wrong.line), "line {} of {lines}", wrong.line);
    let message = wrong.to_string();
    assert!(message.len() < 4096, "a message is a line: {message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
    assert!(message.contains("expected ") && message.contains("found "), "{message}");
}

/// Writes a plan as TOML; strings with the escapes that TOML has.
fn render(plan: &TomlPlan) -> String {
    let mut out = String::new();
    for generate in &plan.generate {
        let path = quoted(&generate.path);
        let (size, seed) = (generate.size, generate.seed);
        let _ = write!(out, "[[generate]]\npath = {path}\nsize = \"{size}\"\nseed = {seed}\n");
    }
    for node in &plan.nodes {
        out.push_str("[[node]]\n");
        let ranks: Vec<String> = node.ranks.iter().map(ToString::to_string).collect();
        let (key, list) = match node.hosts.is_empty() {
            true => ("ranks", ranks.join(",")),
            false => ("hosts", node.hosts.join(",")),
        };
        let root = if node.root.is_empty() { "." } else { &node.root };
        let _ = write!(out, "{key} = \"{list}\"\nroot = {}\n", quoted(root));
        for (key, patterns) in [("have", node.have.as_ref()), ("want", Some(&node.want))] {
            let Some(patterns) = patterns else { continue };
            let texts: Vec<String> = patterns.iter().map(|text| quoted(text.as_str())).collect();
            let _ = writeln!(out, "{key} = [{}]", texts.join(", "));
        }
        if !node.rack.is_empty() {
            let _ = writeln!(out, "rack = {}", quoted(&node.rack));
        }
    }
    for pin in &plan.pins {
        let digits: String = pin.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(out, "[[pin]]\npath = {}\nsha256 = \"{digits}\"\n", quoted(&pin.path));
    }
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
