//! A peer's report from its JSON form. Nothing in it is believed further than its type.

use super::{FileReport, FileState, PeerReport, PeerState, Role};
use dunlin_base::Rank;
use serde_json::Value;
use std::collections::BTreeMap;

const ROLES: [Role; 3] = [Role::Seed, Role::Peer, Role::Leecher];
const STATES: [PeerState; 4] =
    [PeerState::Complete, PeerState::Failed, PeerState::Dead, PeerState::Absent];
const FILE_STATES: [FileState; 2] = [FileState::Complete, FileState::Failed];

impl PeerReport {
    /// Reads what [`PeerReport::to_json`] wrote, without the hashes, which stay with the rank; `None`
    /// if something is missing or of another type.
    #[must_use]
    pub(crate) fn of_json(value: &Value) -> Option<PeerReport> {
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let list = |key: &str| value.get(key).and_then(Value::as_array);
        let (role, state) = (text("role")?, text("state")?);
        let errors = list("errors")?.iter().map(|error| error.as_str().map(str::to_owned));
        let report = PeerReport {
            rank: rank(value.get("rank")?)?,
            role: ROLES.into_iter().find(|known| known.name() == role)?,
            state: STATES.into_iter().find(|known| known.name() == state)?,
            files: list("files")?.iter().map(file).collect::<Option<_>>()?,
            pieces_from: counts(value.get("pieces_from")?)?,
            pieces_served: number("pieces_served")?,
            rejected: number("rejected")?,
            bad_pieces: number("bad_pieces")?,
            bad_from: counts(value.get("bad_from")?)?,
            banned: list("banned")?.iter().map(rank).collect::<Option<_>>()?,
            refreshes: number("refreshes")?,
            refreshes_forced: number("refreshes_forced")?,
            pieces_resumed: number("pieces_resumed")?,
            seconds: value.get("seconds").and_then(Value::as_f64)?,
            bytes_moved: number("bytes_moved")?,
            bytes_linked: number("bytes_linked")?,
            bytes_sent: number("bytes_sent")?,
            errors: errors.collect::<Option<_>>()?,
            hashes: BTreeMap::new(),
        };
        report.seconds.is_finite().then_some(report)
    }
}

fn rank(value: &Value) -> Option<Rank> {
    u32::try_from(value.as_u64()?).ok().map(Rank)
}

fn file(value: &Value) -> Option<FileReport> {
    let state = value.get("state")?.as_str()?;
    let reason = match value.get("reason") {
        None => None,
        Some(reason) => Some(reason.as_str()?.to_owned()),
    };
    Some(FileReport {
        name: value.get("name")?.as_str()?.to_owned(),
        state: FILE_STATES.into_iter().find(|known| known.name() == state)?,
        reason,
    })
}

fn counts(value: &Value) -> Option<BTreeMap<Rank, u64>> {
    let count = |(who, count): (&String, &Value)| Some((Rank(who.parse().ok()?), count.as_u64()?));
    value.as_object()?.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back() {
        let failed = FileReport {
            name: "b".into(),
            state: FileState::Failed,
            reason: Some("nobody has it".into()),
        };
        let complete =
            FileReport { name: "a/\"x\"".into(), state: FileState::Complete, reason: None };
        let report = PeerReport {
            role: Role::Peer,
            state: PeerState::Failed,
            files: vec![complete, failed],
            pieces_from: BTreeMap::from([(Rank(1), 7), (Rank(12), u64::MAX)]),
            bad_from: BTreeMap::from([(Rank(2), 1)]),
            banned: [Rank(2)].into(),
            bad_pieces: 1,
            pieces_served: 3,
            pieces_resumed: 4,
            rejected: 5,
            refreshes: 6,
            refreshes_forced: 2,
            seconds: 1.25,
            bytes_moved: 99,
            bytes_linked: 7,
            bytes_sent: 98,
            errors: vec!["disk".into()],
            ..PeerReport::silent(Rank(3))
        };
        let json = report.to_json();
        let back = PeerReport::of_json(&json).expect("reads its own");
        assert_eq!(back.to_json(), json);
        assert_eq!(format!("{back:?}"), format!("{report:?}"));
    }

    #[test]
    fn whatever_is_missing_or_of_another_type_is_refused() {
        let json = PeerReport::silent(Rank(3)).to_json();
        let whole = json.as_object().expect("an object");
        for key in whole.keys() {
            let mut cut = whole.clone();
            cut.remove(key);
            assert!(PeerReport::of_json(&Value::Object(cut)).is_none(), "without {key}");
            let mut wrong = whole.clone();
            wrong.insert(key.clone(), Value::Bool(true));
            assert!(PeerReport::of_json(&Value::Object(wrong)).is_none(), "{key} is no {key}");
        }
    }
}
