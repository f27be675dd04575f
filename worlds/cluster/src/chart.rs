//! A trace as a sequence chart: columns are ranks, arrows are messages. With more ranks than fit on
//! a screen it becomes a list.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};

/// Ranks that a chart has columns for; with more the lines would not fit on a screen.
const MAX_COLUMNS: usize = 8;
/// Characters from one column to the next: room for the longest name of a message.
const WIDTH: usize = 18;
/// The longest line of a trace in bytes. The longest that a run writes lists 100 000 ranks.
const MAX_LINE: u64 = 4 * 1024 * 1024;

/// Why a trace cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line is no line of a trace.
    #[error("line {line}: expected a JSON object with t, from, to and msg, found {found}")]
    NoTrace {
        /// The line, from 1.
        line: usize,
        /// How the line begins.
        found: String,
    },
}

struct Step {
    seconds: f64,
    from: u64,
    to: u64,
    label: String,
}

/// Reads a trace and prints it for people.
///
/// # Errors
/// If reading or writing fails, or a line is no line of a trace.
pub fn chart(reader: impl BufRead, mut writer: impl Write) -> Result<(), ChartError> {
    let steps = read(reader)?;
    let ranks: BTreeSet<u64> = steps.iter().flat_map(|step| [step.from, step.to]).collect();
    if ranks.len() > MAX_COLUMNS {
        for step in &steps {
            let at = format!("{:>10.6}s", step.seconds);
            if step.from == step.to {
                writeln!(writer, "{at}  r{} · {}", step.from, step.label)?;
            } else {
                writeln!(writer, "{at}  r{} → r{}  {}", step.from, step.to, step.label)?;
            }
        }
        return Ok(());
    }
    let ranks: Vec<u64> = ranks.into_iter().collect();
    let mut head = String::from("           ");
    for rank in &ranks {
        let name = if *rank == 0 { "tracker".to_owned() } else { format!("r{rank}") };
        head.push_str(&format!("{name:^WIDTH$}"));
    }
    writeln!(writer, "{}", head.trim_end())?;
    for step in &steps {
        writeln!(writer, "{:>10.6}s{}", step.seconds, row(step, &ranks))?;
    }
    Ok(())
}

fn read(mut reader: impl BufRead) -> Result<Vec<Step>, ChartError> {
    let mut steps = Vec::new();
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let bytes = io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut text)?;
        if bytes == 0 {
            break;
        }
        // The last line of a run that was killed may be cut.
        let cut = text.last() != Some(&b'\n');
        match step(&text) {
            Some(step) => steps.push(step),
            None if text.iter().all(u8::is_ascii_whitespace) || (cut && line > 1) => {}
            None => {
                let start = text.get(..40).unwrap_or(&text);
                let found = String::from_utf8_lossy(start).trim_end().escape_debug().to_string();
                return Err(ChartError::NoTrace { line, found: format!("`{found}`") });
            }
        }
    }
    Ok(steps)
}

fn step(line: &[u8]) -> Option<Step> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let seconds = value.get("t")?.as_f64()?;
    let from = value.get("from")?.as_u64()?;
    let to = value.get("to")?.as_u64()?;
    let mut label = value.get("msg")?.as_str()?.to_owned();
    if value.get("forced") == Some(&Value::Bool(true)) {
        label.push_str(" (forced)");
    }
    if let Some(file) = value.get("file").and_then(Value::as_str) {
        label.push_str(&format!(" {file}"));
    }
    if let Some(piece) = value.get("piece").and_then(Value::as_u64) {
        label.push_str(&format!(" #{piece}"));
    }
    for key in ["members", "source", "peer"] {
        if let Some(who) = value.get(key) {
            label.push_str(&format!(" {key} {who}"));
        }
    }
    if let Some(reason) = value.get("reason").and_then(Value::as_str) {
        label.push_str(&format!(" ({})", reason.lines().next().unwrap_or_default()));
    }
    Some(Step { seconds, from, to, label: one_line(&label) })
}

/// The label without line breaks and anything else that would do something to a terminal: a trace
/// may come from anywhere.
fn one_line(label: &str) -> String {
    let mut line = String::with_capacity(label.len());
    for letter in label.chars() {
        match letter.is_control() {
            true => line.extend(letter.escape_debug()),
            false => line.push(letter),
        }
    }
    line
}

/// The life lines of all ranks, with the arrow of this step between two of them.
fn row(step: &Step, ranks: &[u64]) -> String {
    let column = |rank: u64| {
        let index = ranks.iter().position(|other| *other == rank).unwrap_or_default();
        index * WIDTH + WIDTH / 2
    };
    let mut cells: Vec<char> = vec![' '; ranks.len() * WIDTH];
    for rank in ranks {
        cells[column(*rank)] = '│';
    }
    let (from, to) = (column(step.from), column(step.to));
    if step.from == step.to {
        let label: Vec<char> = step.label.chars().collect();
        cells[from] = '●';
        cells.truncate(from + 2);
        cells.resize(from + 2, ' ');
        cells.extend(label);
        return cells.into_iter().collect();
    }
    let (left, right) = (from.min(to), from.max(to));
    for cell in &mut cells[left + 1..right] {
        *cell = '─';
    }
    let head = if to > from { (right - 1, '▶') } else { (left + 1, '◀') };
    cells[head.0] = head.1;
    let room = right - left - 3;
    let short: Vec<char> = step.label.chars().take(room).collect();
    let start = left + 2 + (room - short.len()) / 2;
    cells.splice(start..start + short.len(), short.iter().copied());
    let mut line: String = cells.into_iter().collect();
    if short.len() < step.label.chars().count() {
        line.push_str(&format!("  {}", step.label));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(trace: &str) -> String {
        let mut out = Vec::new();
        chart(trace.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn few_ranks_get_columns() {
        let text = shown(concat!(
            r#"{"t":0.001,"from":1,"to":0,"msg":"lookup","file":"f"}"#,
            "\n",
            r#"{"t":0.002,"from":1,"to":1,"msg":"verified","file":"f","piece":3}"#,
            "\n",
        ));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("tracker") && lines[0].contains("r1"), "{text}");
        assert!(lines[1].contains('◀') && lines[1].contains("lookup f"), "{text}");
        assert!(lines[2].contains("● verified f #3"), "{text}");
    }

    #[test]
    fn names_do_nothing_to_a_terminal() {
        let text = shown("{\"t\":1,\"from\":1,\"to\":1,\"msg\":\"a\\nb\\u001b[2J\"}\n");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(r"● a\nb\u{1b}[2J"), "{text}");
    }

    #[test]
    fn many_ranks_become_a_list() {
        let mut trace = String::new();
        for rank in 1..=20 {
            trace.push_str(&format!(
                "{{\"t\":0.5,\"from\":{rank},\"to\":0,\"msg\":\"register\"}}\n"
            ));
        }
        assert!(shown(&trace).contains("0.500000s  r20 → r0  register"));
    }

    #[test]
    fn what_is_no_trace_is_refused_by_line() {
        let error = chart(&b"{\"t\":1,\"from\":0,\"to\":0,\"msg\":\"x\"}\nhello\n"[..], io::sink());
        assert!(error.unwrap_err().to_string().starts_with("line 2: expected"));
        // The cut last line of a killed run is forgiven.
        let cut = b"{\"t\":1,\"from\":0,\"to\":0,\"msg\":\"x\"}\n{\"t\":1,\"fr";
        assert!(chart(&cut[..], io::sink()).is_ok());
    }
}
