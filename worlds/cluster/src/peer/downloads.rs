//! What the download side reports, passed on to the engine.

use super::{Downloads, Effect, Peer};
use crate::content::{CheckError, local};
use crate::download::DownloadDone;
use crate::frame::Frame;
use dunlin_base::Rank;
use dunlin_control::Control;
use dunlin_disk::SyncReport;
use dunlin_disk::pieces::Report;
use dunlin_engine::io::{MemberInput, SwarmInput};

impl Peer {
    pub(super) fn downloaded(&mut self, done: DownloadDone) {
        match done {
            DownloadDone::Checking { done, total } => {
                self.progress.checking(done, total);
                let frame = Frame::Control(Control::Checking { done, total });
                self.effects.push_back(Effect::Send { to: Rank::TRACKER, frame });
            }
            DownloadDone::Checked(Ok(register)) => {
                self.progress.waiting();
                self.recorder.registered(&register);
                self.inputs.push_back(MemberInput::Checked(register));
            }
            // The tracker knows that the run was stopped.
            DownloadDone::Checked(Err(CheckError::Stopped)) => {}
            DownloadDone::Checked(Err(CheckError::Failed(error))) => {
                self.recorder.keep(&error);
                self.progress.check_failed(error);
            }
            DownloadDone::Opened { torrent, result: Ok((have, resumed)), blocked } => {
                self.opening.remove(&torrent);
                self.inputs.push_back(MemberInput::Opened { torrent, have, resumed });
                // Waiting for a source of them would change nothing.
                for (file, error) in blocked {
                    self.recorder.error(&error);
                    self.inputs.push_back(MemberInput::FileFailed { torrent, file, error });
                }
            }
            DownloadDone::Opened { torrent, result: Err(error), .. } => {
                self.opening.remove(&torrent);
                // The engine logs it, with the torrent.
                self.recorder.keep(&error);
                self.inputs.push_back(MemberInput::OpenFailed { torrent, error });
            }
            DownloadDone::Pieces(report) => self.reported(report),
            DownloadDone::Linked { torrent, file, result: Ok(bytes) } => {
                self.recorder.bytes_linked += bytes;
                self.inputs.push_back(MemberInput::FileFinished { torrent, file });
            }
            DownloadDone::Linked { torrent, file, result: Err(error) } => {
                self.inputs.push_back(MemberInput::LinkFailed { torrent, file, error });
            }
            DownloadDone::TreeFinished { failed, linked } => {
                self.recorder.bytes_linked += linked;
                self.inputs.push_back(MemberInput::TreeFinished { failed });
            }
            DownloadDone::Closed(synced) => {
                self.downloads = Downloads::Closed;
                self.synced(synced);
            }
        }
    }

    /// What came of a piece job, or of a sync.
    fn reported(&mut self, report: Report) {
        match report {
            Report::Hashed { key, matches } => {
                self.inputs.push_back(SwarmInput::PieceHashed { key, matches }.into());
            }
            Report::Digested { key, digests } => {
                self.inputs.push_back(SwarmInput::BlockDigests { key, digests }.into());
            }
            Report::Written(key) => self.inputs.push_back(SwarmInput::PieceWritten(key).into()),
            Report::Loaded { key, blocks } => {
                self.loaded(key, blocks);
                self.inputs.push_back(SwarmInput::Reserved(key).into());
            }
            Report::Failed { key, error } => {
                let error = local(error);
                self.recorder.error(&error);
                self.inputs.push_back(SwarmInput::DiskFailed { key, error }.into());
            }
            Report::FinishFailed { torrent, file, error } => {
                let error = local(error);
                self.recorder.error(&error);
                self.inputs.push_back(MemberInput::FileFailed { torrent, file, error });
            }
            Report::Synced(synced) => self.synced(synced),
        }
    }

    fn synced(&mut self, synced: SyncReport) {
        for (torrent, file) in synced.finished {
            self.inputs.push_back(MemberInput::FileFinished { torrent, file });
        }
        for (torrent, file, error) in synced.failed {
            let error = local(error);
            self.recorder.error(&error);
            self.inputs.push_back(MemberInput::FileFailed { torrent, file, error });
        }
    }
}
