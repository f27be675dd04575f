//! Checks of registrations that hold for any input. Fuzz targets and the replay of their corpus
//! call them.

use super::order::TrackerMap;
use super::planner::{OnConflict, PlannedSets, Rules, admit, make_sets};
use super::swarm_table::SwarmTable;
use dunlin_base::Rank;
use dunlin_control::{Control, Register};
use std::collections::BTreeMap;

/// Any bytes as a control message: a registration makes sets, and the sets a table that holds
/// together; and who comes late with it is taken in.
///
/// # Panics
/// If a property does not hold.
pub fn control(data: &[u8]) {
    let Some(Control::Register(register)) = dunlin_control::fuzzing::control(data) else { return };
    let pins = register.files.iter().step_by(2);
    let pins: BTreeMap<String, [u8; 32]> =
        pins.filter_map(|file| Some((file.name.clone(), file.sha256?))).collect();
    for on_conflict in [OnConflict::Refuse, OnConflict::LowestRank, OnConflict::FailName] {
        for placing in [false, true] {
            let owners_only = placing && register.shares;
            let compare = placing;
            let rules =
                Rules { on_conflict, force: !placing, placing, owners_only, compare, pins: &pins };
            registered(&register, &rules);
        }
    }
}

/// The same registration of three ranks, and of one that comes late.
fn registered(register: &Register, rules: &Rules<'_>) {
    let (first, second, third) = (Rank(0), Rank(1), Rank(2));
    let other = Register { wants: Vec::new(), location: None, ..register.clone() };
    let sets = make_sets(&[(first, register), (second, &other), (third, register)], rules);
    sets.check();
    if rules.placing && rules.on_conflict == OnConflict::FailName {
        assert!(sets.conflicts.is_empty() && sets.obstacles.is_empty(), "nobody is refused");
    }
    for (rank, list) in &sets.entries {
        assert!(list.len() <= sets.tree.entries().len(), "{rank:?}");
    }
    let mut table = SwarmTable::new(&sets, TrackerMap::Pieces);
    table.check();
    assert!(table.dump().len() <= register.files.len());
    let (infos, unwanted) = (table.infos(), table.unwanted());
    let settled = PlannedSets { torrents: &infos, unwanted: &unwanted, tree: &sets.tree };
    let late = admit(Rank(3), register, rules, settled);
    for part in late.assignments {
        if let Some(held) = &part.holding {
            table.set_holding(part.torrent, held, held.whole || !part.wants);
        }
    }
    table.check();
}
