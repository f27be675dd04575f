//! Who wants which names. Ranks with equal wants are one class: ten thousand ranks that want the
//! same tree cost no more here than one.

use super::names::{Named, find};
use dunlin_base::Rank;
use dunlin_control::{FailedFile, Register, Want};
use dunlin_plan::Pattern;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A class, by number.
pub(super) type ClassId = u32;

pub(super) struct WantTable<'a> {
    classes: Vec<Class<'a>>,
    of: BTreeMap<Rank, ClassId>,
    /// Who wants each name: classes, in order.
    wanters: Vec<Vec<ClassId>>,
    /// Why ranks get nothing of what they want.
    dropped: BTreeMap<Rank, Vec<FailedFile>>,
}

/// Ranks with equal wants.
struct Class<'a> {
    wants: &'a [Want],
    ranks: Vec<Rank>,
    /// Wants that match no name.
    unmatched: Vec<FailedFile>,
}

impl<'a> WantTable<'a> {
    /// Matches all wants with `names`. `by_rank` is in the order of ranks.
    pub(super) fn new(
        by_rank: &[(Rank, &'a Register)],
        names: &[Named<'_, 'a>],
        pins: &BTreeMap<String, [u8; 32]>,
    ) -> WantTable<'a> {
        let mut want_table = WantTable {
            classes: Vec::new(),
            of: BTreeMap::new(),
            wanters: vec![Vec::new(); names.len()],
            dropped: BTreeMap::new(),
        };
        let mut known: BTreeMap<&[Want], ClassId> = BTreeMap::new();
        for (rank, register) in by_rank.iter().filter(|(_, register)| !register.wants.is_empty()) {
            let wants = register.wants.as_slice();
            let next = want_table.classes.len() as ClassId;
            let id = *known.entry(wants).or_insert(next);
            if id == next {
                want_table.classes.push(Class { wants, ranks: Vec::new(), unmatched: Vec::new() });
            }
            if let Some(class) = want_table.classes.get_mut(id as usize) {
                class.ranks.push(*rank);
            }
            want_table.of.insert(*rank, id);
        }
        want_table.resolve(names, pins);
        want_table
    }

    fn resolve(&mut self, names: &[Named<'_, 'a>], pins: &BTreeMap<String, [u8; 32]>) {
        // Rules of one plan share their globs, so each is matched once.
        let mut globs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (id, class) in (0..).zip(&mut self.classes) {
            for want in class.wants {
                let one;
                let (text, found) = match want {
                    Want::Name(name) => {
                        one = find(names, name);
                        (name, one.as_slice())
                    }
                    Want::Glob(glob) => {
                        let found = globs.entry(glob).or_insert_with(|| matches(glob, names));
                        (glob, found.as_slice())
                    }
                };
                if found.is_empty() {
                    class.unmatched.push(nobody_has(text, pins.get(text)));
                }
                for index in found {
                    if let Some(wanters) = self.wanters.get_mut(*index)
                        && wanters.last() != Some(&id)
                    {
                        wanters.push(id);
                    }
                }
            }
        }
    }

    /// Takes the wishes of ranks away, each for its reason.
    pub(super) fn drop_ranks(&mut self, reasons: BTreeMap<Rank, String>) {
        for (rank, reason) in reasons {
            let Some(id) = self.of.remove(&rank) else { continue };
            let Some(class) = self.classes.get_mut(id as usize) else { continue };
            class.ranks.retain(|other| *other != rank);
            let failed = class.wants.iter().map(|want| {
                let (Want::Name(name) | Want::Glob(name)) = want;
                let known = class.unmatched.iter().find(|failed| failed.name == *name);
                let fresh = || FailedFile { name: name.clone(), reason: reason.clone() };
                known.cloned().unwrap_or_else(fresh)
            });
            self.dropped.insert(rank, failed.collect());
        }
        for wanters in &mut self.wanters {
            let lives = |id: &ClassId| {
                self.classes.get(*id as usize).is_some_and(|class| !class.ranks.is_empty())
            };
            wanters.retain(lives);
        }
    }

    /// Whether `rank` wants the name of number `name`.
    pub(super) fn wants(&self, name: usize, rank: Rank) -> bool {
        let class = self.of.get(&rank);
        class.is_some_and(|class| self.wanters(name).binary_search(class).is_ok())
    }

    /// The classes that want the name of number `name`, in order.
    pub(super) fn wanters(&self, name: usize) -> &[ClassId] {
        self.wanters.get(name).map_or(&[], Vec::as_slice)
    }

    /// The ranks of the classes, in order.
    pub(super) fn ranks(&self, classes: &[ClassId]) -> Arc<[Rank]> {
        let classes = classes.iter().filter_map(|id| self.classes.get(*id as usize));
        let mut ranks: Vec<Rank> = classes.flat_map(|class| class.ranks.iter().copied()).collect();
        ranks.sort_unstable();
        ranks.into()
    }

    /// Every class that still has ranks, with its wants that match nothing.
    pub(super) fn classes(&self) -> impl Iterator<Item = (ClassId, &[Rank], &[FailedFile])> {
        let all = (0..).zip(&self.classes).filter(|(_, class)| !class.ranks.is_empty());
        all.map(|(id, class)| (id, class.ranks.as_slice(), class.unmatched.as_slice()))
    }

    /// Ranks that get nothing, and why.
    pub(super) fn dropped(&self) -> &BTreeMap<Rank, Vec<FailedFile>> {
        &self.dropped
    }
}

/// A name or pattern that nobody has.
pub(super) fn nobody_has(name: &str, pin: Option<&[u8; 32]>) -> FailedFile {
    let reason = match pin {
        Some(pin) => format!("nobody has it with SHA-256 {}", dunlin_base::hex(pin)),
        None => "nobody has it".to_owned(),
    };
    FailedFile { name: name.to_owned(), reason }
}

fn matches(glob: &str, names: &[Named<'_, '_>]) -> Vec<usize> {
    let Ok(pattern) = Pattern::parse(glob) else { return Vec::new() };
    let matching = names.iter().enumerate().filter(|(_, named)| pattern.matches(named.name));
    matching.map(|(index, _)| index).collect()
}
