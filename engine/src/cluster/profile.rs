//! What a profile means: the plain values that the core and the member get for it.

use super::course::OneRequest;
use crate::config::{Config, Profile};
use crate::swarm::config::{Availability, BanRules, HaveRule, PeerRules, SwarmConfig, UploadRules};
use crate::swarm::policy::Requests;

/// Torrents that are downloaded at the same time; the others wait their turn.
const ACTIVE_TORRENTS: usize = 64;

/// What a profile means for a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberRules {
    /// Torrents that are downloaded at the same time.
    pub(super) active_torrents: usize,
    /// Whether members are dialled as soon as the tracker names them, or only when they are asked.
    pub(super) dials_members: bool,
    /// Whether nothing is requested until a refresh is answered, and each answer is awaited.
    pub(super) awaits_answers: bool,
}

impl Config {
    pub(super) fn member_rules(&self) -> MemberRules {
        match self.profile {
            Profile::BitTorrent | Profile::Cluster => MemberRules {
                active_torrents: ACTIVE_TORRENTS,
                dials_members: true,
                awaits_answers: false,
            },
            Profile::Course => {
                MemberRules { active_torrents: 1, dials_members: false, awaits_answers: true }
            }
        }
    }

    pub(super) fn swarm_config(&self) -> SwarmConfig {
        let availability = match (self.tracker_pieces, self.profile) {
            (true, _) => Availability::Reported,
            (false, Profile::Course) => Availability::Assumed,
            (false, Profile::BitTorrent | Profile::Cluster) => Availability::Announced,
        };
        let haves = match self.profile {
            Profile::BitTorrent => HaveRule::Each,
            Profile::Cluster => HaveRule::Crowds,
            Profile::Course => HaveRule::Never,
        };
        let superseeds = self.profile == Profile::Cluster && !self.tracker_pieces;
        SwarmConfig {
            sources: self.sources,
            choker: self.choker,
            availability,
            haves,
            shares: self.shares,
            superseeds,
            uploads: UploadRules::default(),
            peers: PeerRules::default(),
            bans: BanRules { serves: self.choker.unchokes_all(), ..BanRules::default() },
            memory: self.memory,
        }
    }

    pub(super) fn requests(&self) -> Requests {
        match self.profile {
            Profile::BitTorrent | Profile::Cluster => Requests::Pipelined,
            Profile::Course => Requests::Policy(Some(Box::<OneRequest>::default())),
        }
    }
}
