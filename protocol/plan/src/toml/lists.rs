//! Lists of ranks (`1-4,7`) and of hosts (`n[01-16],m3`).

use super::{MAX_HOSTS, MAX_RANKS, Reader, Rules, Value};
use crate::{Fault, PlanError};
use dunlin_base::Rank;
use std::collections::BTreeMap;

impl Reader<'_> {
    /// The ranks of one node, in order. `all` remembers where each rank of the plan stands.
    pub(super) fn ranks(
        &self,
        value: &Value<'_>,
        all: &mut BTreeMap<Rank, usize>,
    ) -> Result<Vec<Rank>, PlanError> {
        let advice = "write one like \"1-4,7\"";
        let text = self.string("ranks", value, advice)?;
        let at = value.span().start;
        let (expected, lowest) = match self.rules {
            Rules::Swarm => ("ranks and ranges of them, from 1", 1),
            Rules::Place => ("ranks and ranges of them, from 0", 0),
        };
        let most = MAX_RANKS.saturating_sub(all.len());
        let mut ranks = ranks_from(text, lowest, most)
            .map_err(|why| self.bad("ranks", value, expected, text, why, advice))?;
        for rank in &ranks {
            if let Some(first) = all.insert(*rank, at) {
                let (found, first) = (format!("rank {rank}"), self.place.line(first));
                return Err(self.place.error(at, Fault::Twice { what: "rank", found, first }));
            }
        }
        ranks.sort_unstable();
        Ok(ranks)
    }

    /// The hosts of one node, expanded. `all` remembers where each host of the plan stands.
    pub(super) fn hosts(
        &self,
        value: &Value<'_>,
        all: &mut BTreeMap<String, usize>,
    ) -> Result<Vec<String>, PlanError> {
        let advice = "write one like \"n[01-16],m3\"";
        let text = self.string("hosts", value, advice)?;
        let at = value.span().start;
        let most = MAX_HOSTS.saturating_sub(all.len());
        let hosts = expand(text, most).map_err(|why| {
            self.bad("hosts", value, "names of hosts and ranges of them", text, why, advice)
        })?;
        for host in &hosts {
            if let Some(first) = all.insert(host.clone(), at) {
                let (found, first) = (format!("`{host}`"), self.place.line(first));
                return Err(self.place.error(at, Fault::Twice { what: "host", found, first }));
            }
        }
        Ok(hosts)
    }
}

/// Reads a list of ranks from 0 on, like `0,3-5`, in the order of the text; at most [`MAX_RANKS`].
///
/// # Errors
/// A clause that says what is wrong, or an empty text if it is no such list at all.
pub fn parse_ranks(text: &str) -> Result<Vec<Rank>, &'static str> {
    ranks_from(text, 0, MAX_RANKS)
}

/// Expands a list of hosts like `n[01-16],m3`, in the order of the text; at most [`MAX_HOSTS`].
///
/// # Errors
/// A clause that says what is wrong.
pub fn expand_hosts(text: &str) -> Result<Vec<String>, &'static str> {
    expand(text, MAX_HOSTS)
}

fn ranks_from(text: &str, lowest: u32, most: usize) -> Result<Vec<Rank>, &'static str> {
    let mut ranks = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (Some(first), Some(last)) = (rank(first), rank(last)) else { return Err("") };
        if first < lowest || last < lowest {
            return Err("and rank 0 is the tracker's");
        }
        if first > last {
            return Err("which has a range that runs backwards");
        }
        if u64::from(last - first) >= most.saturating_sub(ranks.len()) as u64 {
            return Err("and a plan has at most 100000 ranks");
        }
        ranks.extend((first..=last).map(Rank));
    }
    Ok(ranks)
}

fn rank(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Expands `n[01-16],m3`: commas part the items outside brackets; inside them they part numbers
/// and ranges, written with as many digits as their first number.
fn expand(text: &str, most: usize) -> Result<Vec<String>, &'static str> {
    let mut hosts = Vec::new();
    let mut depth = 0_u32;
    let items = text.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    for item in items {
        let room = most.saturating_sub(hosts.len());
        hosts.extend(expand_item(item.trim(), room)?);
    }
    Ok(hosts)
}

fn expand_item(item: &str, room: usize) -> Result<Vec<String>, &'static str> {
    let mut heads = vec![String::new()];
    let mut rest = item;
    while let Some((plain, after)) = rest.split_once('[') {
        let (list, after) = after.split_once(']').ok_or("which has a `[` without its `]`")?;
        if heads.iter().any(|head| head.len() + plain.len() > MAX_HOST_NAME) {
            return Err(TOO_LONG);
        }
        let numbers = numbers(list, room)?;
        if heads.len().saturating_mul(numbers.len()) > room {
            return Err(TOO_MANY);
        }
        let join = |head: &String| {
            let head = format!("{head}{plain}");
            numbers.iter().map(move |number| format!("{head}{number}")).collect::<Vec<_>>()
        };
        heads = heads.iter().flat_map(join).collect();
        rest = after;
    }
    for head in &mut heads {
        head.push_str(rest);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if head.is_empty() {
            return Err("which has an empty name");
        }
        if head.len() > MAX_HOST_NAME {
            return Err(TOO_LONG);
        }
        if !head.bytes().all(plain) || head.starts_with(['.', '-']) {
            return Err("and a host has only letters, digits, `.`, `-` and `_`");
        }
    }
    if heads.len() > room { Err(TOO_MANY) } else { Ok(heads) }
}

const TOO_LONG: &str = "which has a name of more than 253 characters";
const TOO_MANY: &str = "and a plan has at most 100000 hosts";

/// The longest name of a host (RFC 1035, 2.3.4, without the dot at the end).
const MAX_HOST_NAME: usize = 253;

fn numbers(list: &str, room: usize) -> Result<Vec<String>, &'static str> {
    let mut numbers = Vec::new();
    for item in list.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let width = first.trim().len();
        let (Some(first), Some(last)) = (rank(first), rank(last)) else {
            return Err("which has no numbers between its brackets");
        };
        if first > last {
            return Err("which has a range that runs backwards");
        }
        if u64::from(last - first) >= room.saturating_sub(numbers.len()) as u64 {
            return Err(TOO_MANY);
        }
        if width > MAX_HOST_NAME {
            return Err(TOO_LONG);
        }
        numbers.extend((first..=last).map(|number| format!("{number:0width$}")));
    }
    Ok(numbers)
}
