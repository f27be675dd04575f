//! A plan and the ranks of a job: which node covers which rank, whose places overlap, and what the
//! plan asks for that the job does not have. Knows names only: looks at no disk and asks no host.
//!
//! ```text
//!   nodes (ranks, hosts) ─┐
//!                         ├─▶ shares: what one rank holds and wants, and where
//!   sites (rank, host) ───┘   problems: what cannot be placed, with file and line
//! ```

use crate::fault::{error, shown};
use crate::{Fault, NodeRule, PlanError, TomlPlan};
use dunlin_base::Rank;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Names that a message lists; the others are counted.
const NAMED: usize = 4;

/// A rank of a job and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The rank.
    pub rank: Rank,
    /// The name of its host, for people and for `{host}`.
    pub host: String,
    /// The same text for ranks that see the same files at the same paths.
    pub files: String,
}

/// What one rank holds and wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share<'p> {
    /// The node that covers it.
    pub rule: &'p NodeRule,
    /// Its folder, as the caller made it.
    pub root: String,
    /// A lower rank of the same host wants the same in the same folder, and writes it.
    pub mirrors: Option<Rank>,
    /// Why it cannot take what it wants.
    pub refused: Option<PlanError>,
}

/// The share of every site that some node covers, by rank. Only ranks that see the same files
/// matter to one another, so it is enough to know those. `file` is the plan's name for messages,
/// and `root_of` makes a root (with rank and host filled in) a folder that can be compared with
/// others.
#[must_use]
pub fn shares<'p>(
    file: &str,
    plan: &'p TomlPlan,
    sites: &[Site],
    root_of: impl Fn(&str) -> String,
) -> BTreeMap<Rank, Share<'p>> {
    let index = Index::of(plan);
    let mut sites: Vec<&Site> = sites.iter().collect();
    sites.sort_by_key(|site| site.rank);
    let mut taken: BTreeMap<&str, Taken<'p>> = BTreeMap::new();
    let mut shares = BTreeMap::new();
    for site in sites {
        let Some((rule, twice)) = index.covers(site) else { continue };
        let root = root_of(&rule.root_of(site.rank, &site.host));
        let mut share = Share { rule, root, mirrors: None, refused: None };
        if let Some(other) = twice {
            let fault =
                Fault::CoveredTwice { rank: site.rank, host: shown(&site.host), first: other.line };
            share.refused = Some(error(file, rule.line, fault));
        } else if !rule.want.is_empty() {
            taken.entry(&site.files).or_default().take(file, site.rank, &mut share);
        }
        shares.insert(site.rank, share);
    }
    shares
}

/// What a plan asks for that a job does not have. `sites` are all ranks of the job.
#[must_use]
pub fn problems(file: &str, plan: &TomlPlan, sites: &[Site]) -> Vec<PlanError> {
    let mut problems = Vec::new();
    let highest = sites.iter().map(|site| site.rank).max().unwrap_or(Rank(0));
    let mut hosts: BTreeMap<String, ()> = BTreeMap::new();
    for site in sites {
        hosts.insert(site.host.to_ascii_lowercase(), ());
        hosts.insert(short(&site.host).to_ascii_lowercase(), ());
    }
    let known = |host: &str| {
        let host = host.to_ascii_lowercase();
        hosts.contains_key(&host) || (host.contains('.') && hosts.contains_key(short(&host)))
    };
    for node in &plan.nodes {
        let ranks = node.ranks.iter().filter(|rank| **rank > highest);
        if let Some(found) = listed("rank", ranks.map(ToString::to_string)) {
            problems.push(error(file, node.line, Fault::NoSuchRank { found, highest }));
        }
        let absent = node.hosts.iter().filter(|host| !known(host));
        if let Some(found) = listed("host", absent.map(|host| shown(host))) {
            problems.push(error(file, node.line, Fault::NoSuchHost { found }));
        }
    }
    for pin in &plan.pins {
        let wanted = |node: &NodeRule| node.want.iter().any(|want| want.matches(&pin.path));
        if !plan.nodes.iter().any(wanted) {
            let found = shown(&pin.path);
            problems.push(error(file, pin.line, Fault::IdlePin { found }));
        }
    }
    problems
}

/// `rank 7`, or `ranks 7, 8, 9, 10 and 5 more`.
fn listed(noun: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    let (first, rest) = names.split_at(names.len().min(NAMED));
    let plural = if names.len() > 1 { "s" } else { "" };
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    (!names.is_empty()).then(|| format!("{noun}{plural} {}{more}", first.join(", ")))
}

/// Which node covers a rank or a host.
struct Index<'p> {
    ranks: BTreeMap<Rank, &'p NodeRule>,
    hosts: BTreeMap<String, &'p NodeRule>,
}

impl<'p> Index<'p> {
    fn of(plan: &'p TomlPlan) -> Index<'p> {
        let mut index = Index { ranks: BTreeMap::new(), hosts: BTreeMap::new() };
        for node in &plan.nodes {
            index.ranks.extend(node.ranks.iter().map(|rank| (*rank, node)));
            let hosts = node.hosts.iter().map(|host| (host.to_ascii_lowercase(), node));
            index.hosts.extend(hosts);
        }
        index
    }

    /// The node of a site; the other one, if there are two.
    fn covers(&self, site: &Site) -> Option<(&'p NodeRule, Option<&'p NodeRule>)> {
        let host = site.host.to_ascii_lowercase();
        let by_host =
            self.hosts.get(&host).or_else(|| self.hosts.get(short(&host))).or_else(|| {
                // The job says `n1`, the plan says `n1.cluster`.
                let start = format!("{host}.");
                let from = (Bound::Included(start.as_str()), Bound::Unbounded);
                let next = self.hosts.range::<str, _>(from).next();
                next.filter(|(name, _)| !host.contains('.') && name.starts_with(&start))
                    .map(|(_, node)| node)
            });
        match (self.ranks.get(&site.rank), by_host) {
            (Some(first), Some(second)) if first.line > second.line => Some((first, Some(second))),
            (Some(first), Some(second)) => Some((second, Some(first))),
            (Some(one), None) | (None, Some(one)) => Some((one, None)),
            (None, None) => None,
        }
    }
}

/// The name of a host up to its first dot.
fn short(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

/// The folders that ranks of one host write to, each with a `/` at its end.
#[derive(Default)]
struct Taken<'p>(BTreeMap<String, (Rank, &'p NodeRule)>);

impl<'p> Taken<'p> {
    /// Gives a folder to a rank, which may share one that wants the same.
    fn take(&mut self, file: &str, rank: Rank, share: &mut Share<'p>) {
        let key = format!("{}/", share.root.trim_end_matches('/'));
        if let Some((lower, rule)) = self.0.get(&key)
            && rule.want == share.rule.want
        {
            share.mirrors = Some(*lower);
            return;
        }
        if let Some((outer, other, rule)) = self.touched(&key) {
            let line = share.rule.line;
            let fault = Fault::Overlap {
                root: shown(&share.root),
                rank,
                other_root: shown(outer.trim_end_matches('/')),
                other,
                other_line: rule.line,
            };
            share.refused = Some(error(file, line, fault));
            return;
        }
        self.0.insert(key, (rank, share.rule));
    }

    /// A folder that is, holds or lies in this one.
    fn touched(&self, key: &str) -> Option<(&str, Rank, &'p NodeRule)> {
        let from = (Bound::Included(key), Bound::Unbounded);
        let below = self.0.range::<str, _>(from).next().filter(|(other, _)| other.starts_with(key));
        let above = || {
            let ends = key.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at + 1);
            ends.filter_map(|end| self.0.get_key_value(key.get(..end)?)).next()
        };
        let (other, (rank, rule)) = below.or_else(above)?;
        Some((other, *rank, rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_place;

    /// `0@a 1@a 2@b`: ranks and hosts.
    fn sites(text: &str) -> Vec<Site> {
        let site = |word: &str| {
            let (rank, host) = word.split_once('@').unwrap();
            let (rank, host) = (Rank(rank.parse().unwrap()), host.to_owned());
            Site { rank, files: host.clone(), host }
        };
        text.split_whitespace().map(site).collect()
    }

    /// A node a word: `ranks:root:want`; a list with a letter is one of hosts.
    fn plan(text: &str) -> TomlPlan {
        let node = |word: &str| {
            let fields: Vec<&str> = word.split(':').collect();
            let letters = fields[0].contains(|c: char| c.is_ascii_alphabetic());
            let key = if letters { "hosts" } else { "ranks" };
            let want = if fields[2].is_empty() { "" } else { &format!("\"{}\"", fields[2]) };
            format!(
                "[[node]]\n{key} = \"{}\"\nroot = \"{}\"\nwant = [{want}]\n",
                fields[0], fields[1]
            )
        };
        let text: String = text.split_whitespace().map(node).collect();
        parse_place("p", text.as_bytes()).unwrap_or_else(|wrong| panic!("{text}{wrong}"))
    }

    /// `rank:root`, with `=lower` for a mirror and `!line` for one that is refused.
    fn drawn(nodes: &str, at: &str) -> String {
        let plan = plan(nodes);
        let shares = shares("p", &plan, &sites(at), |root| root.to_owned());
        let one = |(rank, share): (&Rank, &Share<'_>)| {
            let mirrors = share.mirrors.map_or(String::new(), |lower| format!("={lower}"));
            let refused =
                share.refused.as_ref().map_or(String::new(), |at| format!("!{}", at.line));
            format!("{rank}:{}{mirrors}{refused}", share.root)
        };
        shares.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn who_holds_what_where() {
        let cases = [
            ("0-1:/d/{rank}:m", "0@a 1@a 2@b", "0:/d/0 1:/d/1"),
            ("a,b:/d/{host}/{rank}:m", "0@a 1@b 2@c", "0:/d/a/0 1:/d/b/1"),
            // Names of hosts, long and short.
            ("n1:/d:m n2.x.y:/e:m", "0@n1.x.y 1@n2 2@n2.other 3@N1", "0:/d 1:/e 3:/d"),
            // One copy a host.
            ("a,b:/d:m", "0@a 1@a 2@b 3@a", "0:/d 1:/d=0 2:/d 3:/d=0"),
            ("0:/d:m 1:/d:m", "0@a 1@a", "0:/d 1:/d=0"),
            // The same folder for different wants, or one inside another, on one host only.
            ("0:/d:m 1:/d:n", "0@a 1@a", "0:/d 1:/d!5"),
            ("0:/d:m 1:/d:n", "0@a 1@b", "0:/d 1:/d"),
            ("0:/d:m 1:/d/e:m", "0@a 1@a", "0:/d 1:/d/e!5"),
            ("0:/d/e:m 1:/d:m", "0@a 1@a", "0:/d/e 1:/d!5"),
            ("0:/d/e:m 1:/d/ef:m", "0@a 1@a", "0:/d/e 1:/d/ef"),
            // Who only gives may give from anywhere.
            ("0:/d: 1:/d/e:m 2:/d:m", "0@a 1@a 2@b", "0:/d 1:/d/e 2:/d"),
            // Two nodes for one rank.
            ("0:/d:m a:/e:m", "0@a 1@a", "0:/e!5 1:/e"),
        ];
        for (nodes, at, expected) in cases {
            assert_eq!(drawn(nodes, at), expected, "{nodes} at {at}");
        }
    }

    #[test]
    fn a_rank_needs_to_know_its_own_host_only() {
        let plan = plan("0-5:/d:m 6:/d/e:n");
        let all = sites("0@a 1@b 2@a 3@b 4@a 5@b 6@b");
        let whole = shares("p", &plan, &all, str::to_owned);
        let here: Vec<Site> = all.iter().filter(|site| site.host == "b").cloned().collect();
        let part = shares("p", &plan, &here, str::to_owned);
        assert_eq!(part.len(), 4);
        part.iter().for_each(|(rank, share)| assert_eq!(whole.get(rank), Some(share)));
    }

    #[test]
    fn what_the_job_does_not_have_is_said_with_its_line() {
        let plan = plan("0-1:/d:m 5-12:/d/{rank}:m a,b,c.x:/e:m");
        let said = |at: &str| {
            let problems = problems("plan.toml", &plan, &sites(at));
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let said = said("0@a 1@a 2@c 3@q 4@q 5@q 6@q");
        assert_eq!(
            said,
            [
                "plan.toml:5: expected ranks of this job, 0 to 6, found ranks 7, 8, 9, 10 and 2 \
                 more; start more ranks, or correct the list",
                "plan.toml:9: expected hosts of this job, found host b, where no rank runs; start \
                 one there, or correct the list",
            ]
        );
    }

    #[test]
    fn a_pin_that_nobody_wants_is_a_problem() {
        let hash = "0".repeat(64);
        let text = format!(
            "[[node]]\nranks = \"0\"\nroot = \"/d\"\nwant = [\"m/*\"]\n[[pin]]\npath = \"m/a\"\n\
             sha256 = \"{hash}\"\n[[pin]]\npath = \"n/a\"\nsha256 = \"{hash}\"\n"
        );
        let plan = parse_place("p", text.as_bytes()).unwrap();
        assert_eq!(plan.pins[0].sha256, [0; 32]);
        let problems = problems("p", &plan, &sites("0@a"));
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "p:9: expected a pin of a wanted file, found `n/a`, which no [[node]] wants; correct \
              its path, or add it to a `want`"
            ]
        );
    }
}
