//! Checks that hold for any bytes. Fuzz targets and the replay of their corpus call them.

use crate::{Control, OnConflict, SwarmTable, TrackerMap, decode, encode, make_sets};
use dunlin_base::Rank;

/// Any bytes: a message whose one encoding they are, or an error. A registration makes sets, and
/// the sets a table that holds together.
///
/// # Panics
/// If a property does not hold.
pub fn control(data: &[u8]) {
    let message = match decode(data) {
        Ok(message) => message,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(encode(&message), data, "one encoding: {message:?}");
    if let Control::Register(register) = message {
        let registers = [(Rank(1), &*register), (Rank(2), &*register)];
        for policy in [OnConflict::Refuse, OnConflict::LowestRank] {
            let sets = make_sets(&registers, policy, true);
            sets.check();
            let table = SwarmTable::new(&sets, TrackerMap::Pieces);
            table.check();
            assert!(table.dump().len() <= register.files.len());
        }
    }
}
