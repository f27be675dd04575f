//! Small swarms for tests: plans as a few words, results as bytes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::Bytes;
use dunlin_base::{Rank, Rng};
use dunlin_cluster::{
    FabricKind, FoundFile, PeerConfig, PeerContent, PeerReport, Report, RunConfig, RunControl,
    TraceSink, VirtualConfig, run,
};
use dunlin_disk::{Fs, MemFs};
use dunlin_plan::{Have, Pattern, TokenFile};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Virtual time with every check on, and a bound that a healthy test never comes near.
pub(crate) fn checked() -> FabricKind {
    FabricKind::Virtual(VirtualConfig { check: true, max_steps: 3_000_000, ..Default::default() })
}

/// The same without the checks, for large swarms.
pub(crate) fn quick() -> FabricKind {
    FabricKind::Virtual(VirtualConfig { max_steps: 20_000_000, ..Default::default() })
}

/// The tokens of a file: the same for everyone who owns it.
pub(crate) fn tokens(name: &str, count: usize) -> TokenFile {
    let token = |index| Bytes::from(format!("{name}-{index:04x}"));
    TokenFile { name: name.to_owned(), tokens: (0..count).map(token).collect() }
}

/// A peer of a course plan: `owns` and `wants` are words `name:count` and `name`.
pub(crate) fn course_peer(rank: u32, owns: &str, wants: &str) -> PeerConfig {
    let owned = owns.split_whitespace().map(|word| {
        let (name, count) = word.split_once(':').expect("name:count");
        tokens(name, count.parse().expect("count"))
    });
    let content = PeerContent::Tokens {
        owned: owned.collect(),
        wanted: wants.split_whitespace().map(str::to_owned).collect(),
        out: PathBuf::from("/out"),
    };
    PeerConfig { rank: Rank(rank), content }
}

/// A course run on a fresh disk.
pub(crate) struct Run {
    pub(crate) disk: MemFs,
    pub(crate) config: RunConfig,
    pub(crate) trace: TraceSink,
}

impl Run {
    pub(crate) fn course(peers: &[(&str, &str)]) -> Run {
        let disk = MemFs::new();
        let trace = TraceSink::memory();
        let mut config = RunConfig::course(Arc::new(disk.clone()));
        config.peers = peers
            .iter()
            .zip(1..)
            .map(|((owns, wants), rank)| course_peer(rank, owns, wants))
            .collect();
        config.fabric = checked();
        config.trace = Some(trace.clone());
        config.hash_threads = 1;
        Run { disk, config, trace }
    }

    /// A run over real files in `/ranks/<rank>`; `owns` is words `name:bytes`, `wants` patterns.
    pub(crate) fn files(peers: &[(&str, &str)]) -> Run {
        let disk = MemFs::new();
        for ((owns, _), rank) in peers.iter().zip(1..) {
            for word in owns.split_whitespace() {
                let (name, length) = word.split_once(':').expect("name:bytes");
                put(&disk, rank, name, &content(name, length.parse().expect("bytes")));
            }
        }
        let wants: Vec<&str> = peers.iter().map(|(_, wants)| *wants).collect();
        Run::again(disk, &wants)
    }

    /// A run over what is on the disk.
    pub(crate) fn again(disk: MemFs, wants: &[&str]) -> Run {
        let trace = TraceSink::memory();
        let mut config = RunConfig::bittorrent(Arc::new(disk.clone()));
        config.peers =
            wants.iter().zip(1..).map(|(wants, rank)| files_peer(&disk, rank, wants)).collect();
        config.fabric = checked();
        config.trace = Some(trace.clone());
        config.hash_threads = 1;
        Run { disk, config, trace }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut RunConfig)) -> Run {
        change(&mut self.config);
        self
    }

    pub(crate) fn go(self) -> Done {
        let report = run(self.config, &RunControl::new());
        Done { disk: self.disk, report, trace: self.trace }
    }
}

pub(crate) fn root(rank: u32) -> PathBuf {
    PathBuf::from(format!("/ranks/{rank}"))
}

pub(crate) fn put(disk: &MemFs, rank: u32, name: &str, bytes: &[u8]) {
    let path = root(rank).join(name);
    disk.create_dir_all(path.parent().expect("a parent")).expect("folder");
    let file = disk.open_write(&path).expect("file");
    file.set_len(0).expect("empty");
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).expect("write");
    file.sync().expect("sync");
    for folder in path.ancestors().skip(1) {
        disk.sync_dir(folder).expect("sync folder");
    }
}

/// The bytes of a file: drawn from its name.
pub(crate) fn content(name: &str, length: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
    let mut rng = Rng::new(seed);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

fn files_peer(disk: &MemFs, rank: u32, wants: &str) -> PeerConfig {
    let mut found = Vec::new();
    find(disk, &root(rank), "", &mut found);
    found.sort_by(|a: &FoundFile, b| a.name.cmp(&b.name));
    let wants = wants.split_whitespace().map(|text| Pattern::parse(text).expect("pattern"));
    let content = PeerContent::Files {
        placement: None,
        root: root(rank),
        dest: root(rank),
        found,
        found_dest: Vec::new(),
        have: Have::Everything,
        wants: wants.collect(),
    };
    PeerConfig { rank: Rank(rank), content }
}

fn find(disk: &MemFs, folder: &Path, prefix: &str, found: &mut Vec<FoundFile>) {
    for entry in disk.read_dir(folder).unwrap_or_default() {
        let last = entry.path.file_name().and_then(|name| name.to_str()).expect("name");
        if last == ".dunlin" || last.ends_with(".dunlin-part") {
            continue;
        }
        let name = format!("{prefix}{last}");
        if entry.is_file {
            let length = disk.metadata(&entry.path).expect("meta").len;
            found.push(FoundFile { name, path: entry.path.clone(), length });
        } else {
            find(disk, &entry.path, &format!("{name}/"), found);
        }
    }
}

/// What a run left.
pub(crate) struct Done {
    pub(crate) disk: MemFs,
    pub(crate) report: Report,
    pub(crate) trace: TraceSink,
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(self) -> Done {
        assert!(self.report.ok(), "{:#}", self.report.to_json());
        self
    }

    pub(crate) fn peer(&self, rank: u32) -> &PeerReport {
        &self.report.peers[rank as usize - 1]
    }

    pub(crate) fn output(&self, rank: u32, name: &str) -> Option<Vec<u8>> {
        self.disk.read_all(Path::new(&format!("/out/client{rank}_{name}")), 1 << 24).ok()
    }

    #[track_caller]
    pub(crate) fn has_tokens(&self, rank: u32, name: &str, count: usize) {
        let expected: Vec<u8> = tokens(name, count)
            .tokens
            .iter()
            .flat_map(|token| [token, &b"\n"[..]].concat())
            .collect();
        assert!(self.output(rank, name) == Some(expected), "client{rank}_{name} is not right");
    }

    #[track_caller]
    pub(crate) fn has_file(&self, rank: u32, name: &str, length: usize) {
        let bytes = self.disk.read_all(&root(rank).join(name), 1 << 28).ok();
        assert!(bytes == Some(content(name, length)), "{name} of rank {rank} is not right");
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.trace.text().lines().map(|line| serde_json::from_str(line).expect("json")).collect()
    }

    /// How often each message stands in the trace.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in self.lines() {
            *counts.entry(line["msg"].as_str().expect("msg").to_owned()).or_default() += 1;
        }
        counts
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
