//! `plan.toml`: real files at real places, and test data to make first.
//!
//! ```toml
//! [[generate]]
//! path = "data/big.bin"        # relative to the plan's folder
//! size = "300MiB"
//! seed = 1
//! [[node]]
//! ranks = "1-4,7"              # or hosts = "n[01-16]"
//! root = "work/{rank}"         # relative to the plan's folder
//! have = ["model/**"]          # default: whatever wanted files are found under root
//! want = ["model/**", "cfg/*.toml"]
//! rack = "r1"                  # to place only
//! [[pin]]                      # to place only
//! path = "model/weights.bin"
//! sha256 = "9f86d081…"         # 64 digits
//! ```
//!
//! A plan that is to be placed ([`parse_place`]) may have hosts, roots anywhere, pins and racks;
//! its ranks are those of the job, so rank 0 is a peer and gaps are no fault; and whether places
//! overlap is known only when it is known who runs where (see `place`).

mod lists;
mod pins;

pub use lists::{expand_hosts, parse_ranks};
pub use pins::Pin;

use crate::fault::{Place, repeated, shown, text};
use crate::name::{check_path, is_within};
use crate::ranks::missing_rank;
use crate::{Fault, Pattern, PlanError};
use ::toml::Spanned;
use ::toml::de::{DeString, DeTable, DeValue};
use dunlin_base::Rank;
use std::collections::BTreeMap;

/// The most ranks of one plan, far above any machine: a typing error in a range must not take the
/// memory.
pub const MAX_RANKS: usize = 100_000;

/// The most hosts of one plan, for the same reason.
pub const MAX_HOSTS: usize = 100_000;

/// The largest file to generate, 16 TiB: more is a typing error.
pub const MAX_GENERATED: u64 = 16 << 40;

/// The longest text in bytes in which all faults of the grammar are collected to name the first:
/// garbage has one every few bytes, and each costs memory.
const SEARCHED: usize = 64 << 10;

/// The longest root in bytes. Every rank gets a copy, so this times [`MAX_RANKS`] bounds memory.
const MAX_ROOT: usize = 1024;

/// The longest label of a rack in bytes: it stands in each of its ranks' messages. As long as names
/// of hosts, which are used as labels, too.
const MAX_RACK: usize = 253;

/// The most patterns of one node times its ranks (or hosts), for the same reason.
const MAX_WISHES: usize = 10_000_000;

/// What a plan may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// A plan for `swarm`.
    Swarm,
    /// A plan for `place`.
    Place,
}

/// What a `plan.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TomlPlan {
    /// Test data to make where it is not there; no path twice, none inside another.
    pub generate: Vec<Generate>,
    /// The nodes in the order of the file; at least one. Their ranks together are 1, 2, … without
    /// a gap, but in a plan that is to be placed.
    pub nodes: Vec<NodeRule>,
    /// Files of known content, no path twice; none but in a plan that is to be placed.
    pub pins: Vec<Pin>,
}

/// A file of pseudo-random bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generate {
    /// Where: relative to the plan's folder, which it cannot leave.
    pub path: String,
    /// How long, in bytes, at most [`MAX_GENERATED`].
    pub size: u64,
    /// What is in it: the same seed gives the same bytes.
    pub seed: u64,
}

/// One `[[node]]`: ranks or hosts that follow one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRule {
    /// The line of its `[[node]]`, from 1, for messages.
    pub line: usize,
    /// Its ranks, in order; empty if it has hosts. Rank 0 only in a plan that is to be placed.
    pub ranks: Vec<Rank>,
    /// Its hosts, expanded, in the order of the file; empty if it has ranks.
    pub hosts: Vec<String>,
    /// Its folder, relative to the plan's, with `{rank}` and `{host}` to fill in. Empty for the
    /// plan's folder itself. Roots of different ranks never lie in one another. In a plan that is
    /// to be placed it may be absolute, and roots may overlap.
    pub root: String,
    /// The files it offers; without it, whatever wanted files are found.
    pub have: Option<Vec<Pattern>>,
    /// The files it wants.
    pub want: Vec<Pattern>,
    /// The same text for hosts that are near each other; empty if nothing was said.
    pub rack: String,
}

impl NodeRule {
    /// The root of one rank (and host, or an empty text), relative to the plan's folder.
    #[must_use]
    pub fn root_of(&self, rank: Rank, host: &str) -> String {
        self.root.replace("{rank}", &rank.to_string()).replace("{host}", host)
    }
}

/// Reads a `plan.toml`. `file` is its name for messages.
///
/// # Errors
/// If the bytes are no TOML, a key is unknown or of the wrong type, a path could leave its folder,
/// a pattern is none, a size is none, or the ranks are not 1, 2, … once each. The error has the
/// line.
pub fn parse_toml(file: &str, bytes: &[u8]) -> Result<TomlPlan, PlanError> {
    parse(file, bytes, Rules::Swarm)
}

/// Reads a `plan.toml` that is to be placed. `file` is its name for messages.
///
/// # Errors
/// If the bytes are no TOML, a key is unknown or of the wrong type, a path or pattern is none, a
/// size or hash is none, or a rank, host or pin stands twice. The error has the line.
///
/// ```
/// let toml = r#"
///     [[node]]
///     hosts = "n[01-16]"
///     root = "/data"
///     want = ["model/***"]
///     rack = "r1"
/// "#;
/// let plan = dunlin_plan::parse_place("plan.toml", toml.as_bytes())?;
/// assert_eq!(plan.nodes[0].hosts[15], "n16");
/// assert!(dunlin_plan::parse_toml("plan.toml", toml.as_bytes()).is_err());
/// # Ok::<(), dunlin_plan::PlanError>(())
/// ```
pub fn parse_place(file: &str, bytes: &[u8]) -> Result<TomlPlan, PlanError> {
    parse(file, bytes, Rules::Place)
}

fn parse(file: &str, bytes: &[u8], rules: Rules) -> Result<TomlPlan, PlanError> {
    let text = text(file, bytes)?;
    let reader = Reader { place: Place::new(file, text), rules };
    let document = DeTable::parse(text).map_err(|wrong| reader.syntax(text, wrong))?;
    let mut plan = TomlPlan::default();
    for (key, value) in document.get_ref().iter() {
        match key.get_ref().as_ref() {
            "generate" => plan.generate = reader.generates(value)?,
            "node" => plan.nodes = reader.nodes(value)?,
            "pin" if reader.places() => plan.pins = reader.pins(value)?,
            _ => return Err(reader.unknown(key, reader.tables_known())),
        }
    }
    if plan.nodes.is_empty() {
        let fault = Fault::Empty {
            expected: "at least one [[node]]",
            advice: "add one with ranks, root and want",
        };
        return Err(reader.place.error(0, fault));
    }
    Ok(plan)
}

type Key<'i> = Spanned<DeString<'i>>;
type Value<'i> = Spanned<DeValue<'i>>;

/// Reads values and knows where they stand.
struct Reader<'a> {
    place: Place<'a>,
    rules: Rules,
}

impl Reader<'_> {
    /// Whether the plan is to be placed.
    fn places(&self) -> bool {
        self.rules == Rules::Place
    }

    fn tables_known(&self) -> &'static str {
        match self.rules {
            Rules::Swarm => "[[generate]] or [[node]]",
            Rules::Place => "[[generate]], [[node]] or [[pin]]",
        }
    }

    fn node_keys_known(&self) -> &'static str {
        match self.rules {
            Rules::Swarm => "`ranks`, `hosts`, `root`, `have` or `want` in [[node]]",
            Rules::Place => "`ranks`, `hosts`, `root`, `have`, `want` or `rack` in [[node]]",
        }
    }

    /// The first fault in the grammar. The parser's own choice can be a later one, which follows
    /// from it.
    fn syntax(&self, text: &str, wrong: ::toml::de::Error) -> PlanError {
        let all = match text.len() <= SEARCHED {
            true => DeTable::parse_recoverable(text).1,
            false => Vec::new(),
        };
        let at = |wrong: &::toml::de::Error| wrong.span().map_or(0, |span| span.start);
        let first = all.into_iter().chain([wrong]).min_by_key(at);
        let (at, message) =
            first.map_or((0, String::new()), |wrong| (at(&wrong), repeated(wrong.message())));
        self.place.error(at, Fault::Syntax { message })
    }

    fn generates(&self, value: &Value<'_>) -> Result<Vec<Generate>, PlanError> {
        let mut all: Vec<Generate> = Vec::new();
        let mut lines = Vec::new();
        for table in self.tables("generate", value)? {
            let (generate, at) = self.generate(&table)?;
            lines.push((generate.path.clone(), self.place.line(at), at));
            all.push(generate);
        }
        lines.sort_by(|(a, ..), (b, ..)| a.split('/').cmp(b.split('/')));
        for pair in lines.windows(2) {
            let [(outer, first, _), (inner, _, at)] = pair else { continue };
            if inner == outer {
                let found = format!("`{}`", shown(inner));
                let fault = Fault::Twice { what: "path", found, first: *first };
                return Err(self.place.error(*at, fault));
            }
            if is_within(inner, outer) {
                let outer_of = format!("line {first}");
                return Err(self.nested(*at, (inner, "this line"), (outer, &outer_of)));
            }
        }
        Ok(all)
    }

    /// One `[[generate]]` and where its path stands.
    fn generate(&self, table: &Spanned<&DeTable<'_>>) -> Result<(Generate, usize), PlanError> {
        let (mut path, mut size, mut seed) = (None, None, None);
        for (key, value) in table.get_ref().iter() {
            match key.get_ref().as_ref() {
                "path" => path = Some((self.generated_path(value)?, value.span().start)),
                "size" => size = Some(self.size(value)?),
                "seed" => seed = Some(self.seed(value)?),
                _ => return Err(self.unknown(key, "`path`, `size` or `seed` in [[generate]]")),
            }
        }
        let missing = |key, advice| {
            let fault = Fault::Missing { table: "[[generate]]", key, advice };
            self.place.error(table.span().start, fault)
        };
        let (path, at) = path.ok_or_else(|| missing("path", "path = \"data/big.bin\""))?;
        let size = size.ok_or_else(|| missing("size", "size = \"300MiB\""))?;
        let seed = seed.ok_or_else(|| missing("seed", "seed = 1"))?;
        Ok((Generate { path, size, seed }, at))
    }

    fn generated_path(&self, value: &Value<'_>) -> Result<String, PlanError> {
        let path = self.string("path", value, "write path = \"data/big.bin\"")?;
        check_path(path).map_err(|why| {
            let expected = "a path below the plan's folder";
            self.bad("path", value, expected, path, &why, "write one like data/big.bin")
        })?;
        Ok(path.to_owned())
    }

    fn size(&self, value: &Value<'_>) -> Result<u64, PlanError> {
        let advice = "write a number and a unit, like \"300MiB\" or \"1.5GB\"";
        let text = self.string("size", value, advice)?;
        let size = dunlin_base::parse_size(text).ok().filter(|size| *size <= MAX_GENERATED);
        size.ok_or_else(|| self.bad("size", value, "a size up to 16 TiB", text, "", advice))
    }

    fn seed(&self, value: &Value<'_>) -> Result<u64, PlanError> {
        let advice = "write one like seed = 1";
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(self.wrong_type("seed", value, "an integer", advice));
        };
        let seed = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        seed.ok_or_else(|| {
            let expected = "an integer from 0 to 2^64 - 1";
            self.bad("seed", value, expected, integer.as_str(), "", advice)
        })
    }

    fn nodes(&self, value: &Value<'_>) -> Result<Vec<NodeRule>, PlanError> {
        let mut ranks: BTreeMap<Rank, usize> = BTreeMap::new();
        let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
        let mut nodes = Vec::new();
        for table in self.tables("node", value)? {
            nodes.push(self.node(&table, &mut ranks, &mut hosts)?);
        }
        if self.places() {
            return Ok(nodes);
        }
        if let Some((missing, next)) = missing_rank(ranks.keys().copied()) {
            let at = ranks.get(&next).copied().unwrap_or(0);
            return Err(self.place.error(at, Fault::Gap { missing, next }));
        }
        self.check_roots(&nodes, &ranks)?;
        Ok(nodes)
    }

    fn node(
        &self,
        table: &Spanned<&DeTable<'_>>,
        all_ranks: &mut BTreeMap<Rank, usize>,
        all_hosts: &mut BTreeMap<String, usize>,
    ) -> Result<NodeRule, PlanError> {
        let at = table.span().start;
        let (mut ranks, mut hosts, mut root) = (None, None, None);
        let (mut have, mut want, mut rack) = (None, Vec::new(), String::new());
        for (key, value) in table.get_ref().iter() {
            match key.get_ref().as_ref() {
                "ranks" => ranks = Some(self.ranks(value, all_ranks)?),
                "hosts" => hosts = Some(self.hosts(value, all_hosts)?),
                "root" => root = Some((self.root(value)?, value)),
                "have" => have = Some(self.patterns("have", value)?),
                "want" => want = self.patterns("want", value)?,
                "rack" if self.places() => rack = self.rack(value)?,
                _ => return Err(self.unknown(key, self.node_keys_known())),
            }
        }
        let missing =
            |key, advice| self.place.error(at, Fault::Missing { table: "[[node]]", key, advice });
        let (ranks, hosts) = match (ranks, hosts) {
            (None, None) => return Err(missing("ranks", "ranks = \"1-4\" (or hosts)")),
            (Some(_), Some(_)) => {
                let (expected, found) = ("`ranks` or `hosts` in one [[node]]", "both".to_owned());
                let why = String::new();
                let advice = "remove one, or write two nodes";
                let fault = Fault::BadValue { key: "node", expected, found, why, advice };
                return Err(self.place.error(at, fault));
            }
            (ranks, hosts) => (ranks.unwrap_or_default(), hosts.unwrap_or_default()),
        };
        let (root, value) = root.ok_or_else(|| missing("root", "root = \"work/{rank}\""))?;
        if hosts.is_empty() && root.contains("{host}") && !self.places() {
            let advice = "use {rank}, or give hosts instead of ranks";
            let why = ", and a node of ranks has no host";
            return Err(self.bad("root", value, "a root of ranks", &root, why, advice));
        }
        let patterns = want.len() + have.as_ref().map_or(0, Vec::len);
        if patterns.saturating_mul(ranks.len().max(hosts.len())) > MAX_WISHES {
            return Err(self.place.error(at, Fault::TooManyPatterns { most: MAX_WISHES }));
        }
        Ok(NodeRule { line: self.place.line(at), ranks, hosts, root, have, want, rack })
    }

    fn rack(&self, value: &Value<'_>) -> Result<String, PlanError> {
        let advice = "write one like rack = \"r1\"";
        let text = self.string("rack", value, advice)?;
        let good =
            !text.is_empty() && text.len() <= MAX_RACK && !text.chars().any(char::is_control);
        if good {
            return Ok(text.to_owned());
        }
        Err(self.bad("rack", value, "a label of 1 to 253 bytes", text, "", advice))
    }

    /// A root without its `.` components, every placeholder known.
    fn root(&self, value: &Value<'_>) -> Result<String, PlanError> {
        let advice = "write one like work/{rank}";
        let text = self.string("root", value, advice)?;
        let bad = |why: &str| {
            let expected = match self.rules {
                Rules::Swarm => "a folder below the plan's, with {rank} or {host} in it",
                Rules::Place => "a folder, with {rank} or {host} in it",
            };
            self.bad("root", value, expected, text, why, advice)
        };
        let bare = text.replace("{rank}", "0").replace("{host}", "h");
        if bare.contains(['{', '}']) {
            return Err(bad("which has braces that are neither {rank} nor {host}"));
        }
        let (text, slash) = match text.strip_prefix('/') {
            Some(rest) if self.places() => (rest, "/"),
            _ => (text, ""),
        };
        let parts = || text.split('/').filter(|part| *part != ".");
        let root = parts().collect::<Vec<_>>().join("/");
        let root = root.strip_suffix('/').filter(|root| !root.is_empty()).unwrap_or(&root);
        if text.len() > MAX_ROOT {
            return Err(bad("which has more than 1024 bytes"));
        }
        if text.is_empty() {
            return Err(bad("which is empty: `.` is the plan's folder"));
        }
        if !root.is_empty() {
            check_path(root).map_err(|why| bad(&why))?;
        } else if !slash.is_empty() {
            return Err(bad("which is all there is"));
        }
        Ok(format!("{slash}{root}"))
    }

    fn patterns(&self, key: &'static str, value: &Value<'_>) -> Result<Vec<Pattern>, PlanError> {
        let advice = "write [\"model/**\", \"cfg/*.toml\"]";
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(key, value, "an array of strings", advice));
        };
        let mut patterns = Vec::with_capacity(array.len());
        for value in array.iter() {
            let text = self.string(key, value, advice)?;
            patterns.push(Pattern::parse(text).map_err(|error| {
                let fault = Fault::BadPattern { found: shown(text), error };
                self.place.error(value.span().start, fault)
            })?);
        }
        Ok(patterns)
    }

    /// Two ranks that share a folder would take each other's outputs for their own files.
    fn check_roots(
        &self,
        nodes: &[NodeRule],
        ranks: &BTreeMap<Rank, usize>,
    ) -> Result<(), PlanError> {
        let roots = nodes
            .iter()
            .flat_map(|node| node.ranks.iter().map(|rank| (node.root_of(*rank, ""), *rank)));
        let mut roots: Vec<(String, Rank)> = roots.collect();
        roots.sort_by(|(a, r), (b, s)| a.split('/').cmp(b.split('/')).then(r.cmp(s)));
        for pair in roots.windows(2) {
            let [(outer, first), (inner, second)] = pair else { continue };
            if is_within(inner, outer) {
                let at = ranks.get(second).copied().unwrap_or(0);
                let (inner_of, outer_of) = (format!("rank {second}"), format!("rank {first}"));
                return Err(self.nested(at, (inner, &inner_of), (outer, &outer_of)));
            }
        }
        Ok(())
    }

    /// The tables of an array of tables, each with its place.
    fn tables<'v, 'i>(
        &self,
        key: &'static str,
        value: &'v Value<'i>,
    ) -> Result<Vec<Spanned<&'v DeTable<'i>>>, PlanError> {
        let advice = "write each under its own [[generate]] or [[node]]";
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(key, value, "an array of tables", advice));
        };
        let table = |value: &'v Value<'i>| match value.get_ref() {
            DeValue::Table(table) => Ok(Spanned::new(value.span(), table)),
            _ => Err(self.wrong_type(key, value, "a table", advice)),
        };
        array.iter().map(table).collect()
    }

    fn string<'v>(
        &self,
        key: &'static str,
        value: &'v Value<'_>,
        advice: &'static str,
    ) -> Result<&'v str, PlanError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type(key, value, "a string", advice)),
        }
    }

    fn wrong_type(
        &self,
        key: &'static str,
        value: &Value<'_>,
        expected: &'static str,
        advice: &'static str,
    ) -> PlanError {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let fault = Fault::WrongType { key, expected, found, advice };
        self.place.error(value.span().start, fault)
    }

    fn unknown(&self, key: &Key<'_>, known: &'static str) -> PlanError {
        let fault = Fault::UnknownKey { known, found: shown(key.get_ref()) };
        self.place.error(key.span().start, fault)
    }

    fn bad(
        &self,
        key: &'static str,
        value: &Value<'_>,
        expected: &'static str,
        found: &str,
        why: &str,
        advice: &'static str,
    ) -> PlanError {
        let why = match why {
            "" => String::new(),
            _ => format!(", {}", why.trim_start_matches(", ")),
        };
        let fault = Fault::BadValue { key, expected, found: shown(found), why, advice };
        self.place.error(value.span().start, fault)
    }

    fn nested(&self, at: usize, inner: (&str, &str), outer: (&str, &str)) -> PlanError {
        let fault = Fault::Nested {
            inner: shown(inner.0),
            inner_of: inner.1.to_owned(),
            outer: shown(outer.0),
            outer_of: outer.1.to_owned(),
        };
        self.place.error(at, fault)
    }
}

#[cfg(test)]
mod tests;
