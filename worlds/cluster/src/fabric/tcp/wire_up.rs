//! How a process finds its job: its rank, the job's size, where rank 0 is, and the key. Decided
//! from the command line and from what launchers leave in the environment: pure, given a way to
//! look up a variable. A key is never looked up there.
//!
//! | | rank and size | rank 0's address |
//! |---|---|---|
//! | command line | `--rank`, `--size` | `--root` |
//! | Open MPI, MPICH and kin, PALS, Flux, PMIx | as for MPI | the key file |
//! | Slurm | `SLURM_PROCID`, … | the key file, else the first host of the step |
//! | torchrun | `RANK`, `WORLD_SIZE` | the key file, else `MASTER_ADDR`, `MASTER_PORT` |

use super::key_file::{KeyFileError, Secret, SecretForm};
use crate::fabric::process::launcher::Launcher;
use crate::json;
use crate::supervision::watch::host_name;
use dunlin_base::Rank;
use dunlin_links::{JobKey, bind, local_addresses};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The longest line that is read from standard input, in bytes.
const MAX_LINE: u64 = 64 * 1024;
/// Ports for jobs of Slurm whose key file names none: below those that systems give out.
const SLURM_PORTS: std::ops::Range<u32> = 20_000..32_000;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct WireFlags {
    /// `--rank`.
    pub rank: Option<u32>,
    /// `--size`.
    pub size: Option<u32>,
    /// `--root HOST:PORT`.
    pub root: Option<String>,
    /// `--listen ADDRESS:PORT`.
    pub listen: Option<SocketAddr>,
    /// `--key-file FILE`, or `-`.
    pub key_file: Option<PathBuf>,
    /// How long a peer tries to find rank 0.
    pub patience: Duration,
}

/// Where the key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// One line of JSON on standard input.
    Stdin,
    /// It is known already.
    Known(JobKey),
}

/// Why it cannot be stdin_secret which rank of which job this is. The command line or the
/// environment is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireUpError {
    /// Nothing names the rank of this process.
    #[error(
        "--fabric tcp needs a rank: start the processes with a launcher (mpirun, srun, flux, \
         torchrun), or give each of them --rank R --size N --key-file FILE"
    )]
    NoRank,
    /// Nothing names the number of ranks.
    #[error("{by} does not say how many ranks there are; give --size N")]
    NoSize {
        /// What named the rank.
        by: &'static str,
    },
    /// The rank is beyond the size.
    #[error("rank {rank} of {size}: ranks are 0 to {last}", last = size.saturating_sub(1))]
    Beyond {
        /// The rank.
        rank: u32,
        /// The size.
        size: u32,
    },
    /// The text is no address.
    #[error("--root {0}: expected HOST:PORT, like n01:4711 or [2001:db8::1]:4711")]
    Root(String),
    /// There is no key.
    #[error(
        "--fabric tcp needs a key: give every rank the same --key-file FILE in a folder that all \
         of them see (rank 0 makes the file), or `--key-file -` to read it from standard input"
    )]
    NoKey,
    /// The line is malformed.
    #[error("expected one line of JSON with key, root, rank and size")]
    Line,
}

impl WireUpError {
    /// Whether the command line itself is wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, WireUpError::NoSize { .. } | WireUpError::Line)
    }
}

/// Why a process could not begin to carry over TCP. The environment is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TcpStartError {
    /// The system refuses threads, sockets or randomness.
    #[error("{0}")]
    System(String),
    /// There is no key, or none that may be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Nothing names the address of rank 0.
    #[error("nobody says where rank 0 is; give --root HOST:PORT at every rank")]
    NoPlace,
    /// Rank 0 was not found in time.
    #[error(
        "rank {rank} did not find rank 0 within {patience:?} (--start-timeout): {why}; is rank 0 \
         running, and can its port be reached?"
    )]
    NoRoot {
        /// Our rank.
        rank: Rank,
        /// How long it was looked for.
        patience: Duration,
        /// What came of the last try.
        why: String,
    },
}

/// How a process finds its job.
#[derive(Clone, Debug)]
pub struct WireUp {
    rank: Rank,
    size: u32,
    /// Where the command line says that rank 0 is.
    root: Option<String>,
    /// Where the environment suggests that it is.
    guess: Option<String>,
    listen: Option<SocketAddr>,
    key: KeySource,
    patience: Duration,
    listener: Option<Arc<TcpListener>>,
    stdin_secret: Arc<OnceLock<Secret>>,
}

/// The JSON form of the line for the standard input of a rank.
#[derive(Serialize, Deserialize)]
struct LineForm {
    #[serde(flatten)]
    secret: SecretForm,
    #[serde(with = "json::rank")]
    rank: Rank,
    size: u32,
}

/// Rank, size and a guess of rank 0's address, and what named them.
struct LaunchedRank {
    rank: u32,
    size: Option<u32>,
    guess: Option<String>,
    by: &'static str,
}

impl WireUp {
    /// Decides from the command line and from the environment.
    ///
    /// # Errors
    /// [`WireUpError`].
    pub fn decide(
        flags: &WireFlags,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<WireUp, WireUpError> {
        let found = match flags.rank {
            Some(rank) => LaunchedRank { rank, size: flags.size, guess: None, by: "--rank" },
            None => launched(lookup).ok_or(WireUpError::NoRank)?,
        };
        let LaunchedRank { rank, size, guess, by } = found;
        let size = flags.size.or(size).ok_or(WireUpError::NoSize { by })?;
        if rank >= size {
            return Err(WireUpError::Beyond { rank, size });
        }
        if let Some(root) = flags.root.as_ref().filter(|root| port_of(root).is_none()) {
            return Err(WireUpError::Root(root.clone()));
        }
        let key = match &flags.key_file {
            None => return Err(WireUpError::NoKey),
            Some(path) if path == Path::new("-") => KeySource::Stdin,
            Some(path) => KeySource::File(path.clone()),
        };
        Ok(WireUp {
            rank: Rank(rank),
            size,
            root: flags.root.clone(),
            guess,
            listen: flags.listen,
            key,
            patience: flags.patience,
            listener: None,
            stdin_secret: Arc::default(),
        })
    }

    /// Rank 0 of a job of `size` ranks that this process starts itself: it has a new key, and it
    /// listens when this returns.
    ///
    /// # Errors
    /// If there is no randomness, or the address is taken.
    pub fn start(size: u32, listen: Option<SocketAddr>) -> Result<WireUp, TcpStartError> {
        let key = JobKey::random().map_err(|error| TcpStartError::System(error.to_string()))?;
        let mut wire = WireUp {
            rank: Rank::TRACKER,
            size,
            root: None,
            guess: None,
            listen,
            key: KeySource::Known(key),
            patience: Duration::ZERO,
            listener: None,
            stdin_secret: Arc::default(),
        };
        wire.listener = Some(Arc::new(wire.open()?));
        Ok(wire)
    }

    /// Where rank 0 may be reached, each `host:port`; empty unless it listens.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        let address = self.listener.as_ref().and_then(|listener| listener.local_addr().ok());
        address.map(|address| places(address, self.root.as_deref())).unwrap_or_default()
    }

    /// The line for the standard input of a rank of the job that [`WireUp::start`] began, without
    /// its end. It holds the key: it must go nowhere else. `more` are places to try first.
    #[must_use]
    pub fn line_for(&self, rank: Rank, more: &[String]) -> String {
        let key = match &self.key {
            KeySource::Known(key) => key.to_hex(),
            KeySource::File(_) | KeySource::Stdin => String::new(),
        };
        let root: Vec<String> = more.iter().cloned().chain(self.roots()).collect();
        let form = LineForm { secret: SecretForm { key, root }, rank, size: self.size };
        // It has string keys, which is all that JSON asks for.
        serde_json::to_string(&form).unwrap_or_default()
    }

    /// Reads what [`WireUp::line_for`] wrote.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn of_line(line: &str, patience: Duration) -> Result<WireUp, WireUpError> {
        let form: LineForm = serde_json::from_str(line).map_err(|_| WireUpError::Line)?;
        let LineForm { secret, rank, size } = form;
        let secret = secret.read().ok_or(WireUpError::Line)?;
        if rank.0 >= size {
            return Err(WireUpError::Beyond { rank: rank.0, size });
        }
        Ok(WireUp {
            rank,
            size,
            root: None,
            guess: None,
            listen: None,
            key: KeySource::Stdin,
            patience,
            listener: None,
            stdin_secret: Arc::new(OnceLock::from(secret)),
        })
    }

    /// Our rank.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// How many ranks the job has.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn key(&self) -> &KeySource {
        &self.key
    }

    pub(crate) fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// Rank 0's listener, if it has one already.
    pub(crate) fn listener(&self) -> Option<&TcpListener> {
        self.listener.as_deref()
    }

    /// The address that the command line chose to listen at.
    pub(crate) fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Opens rank 0's listener: at the address of the command line, at the port of rank 0's
    /// address, or anywhere.
    pub(crate) fn open(&self) -> Result<TcpListener, TcpStartError> {
        let taken = |address: SocketAddr| {
            move |error: std::io::Error| {
                TcpStartError::System(format!(
                    "cannot listen at {address}: {error}; give another --listen"
                ))
            }
        };
        if let Some(address) = self.listen {
            return bind(address).map_err(taken(address));
        }
        if let Some(port) = self.root.as_deref().and_then(port_of) {
            return anywhere(port).map_err(taken((Ipv4Addr::UNSPECIFIED, port).into()));
        }
        let guess = self.guess.as_deref().and_then(port_of).and_then(|port| anywhere(port).ok());
        match guess {
            Some(listener) => Ok(listener),
            None => anywhere(0).map_err(taken((Ipv4Addr::UNSPECIFIED, 0).into())),
        }
    }

    /// Where a peer looks for rank 0.
    pub(crate) fn places_of(&self, secret: &Secret) -> Vec<String> {
        match &self.root {
            Some(root) => vec![root.clone()],
            None if secret.root.is_empty() => self.guess.iter().cloned().collect(),
            None => secret.root.clone(),
        }
    }

    /// What came on standard input; it is read once.
    pub(crate) fn stdin(&self) -> Result<Secret, KeyFileError> {
        if let Some(stdin_secret) = self.stdin_secret.get() {
            return Ok(stdin_secret.clone());
        }
        let mut line = String::new();
        let read = std::io::stdin().lock().take(MAX_LINE).read_line(&mut line);
        read.map_err(|_| KeyFileError::Stdin)?;
        let form: Option<SecretForm> = serde_json::from_str(&line).ok();
        let secret = form.and_then(SecretForm::read).ok_or(KeyFileError::Stdin)?;
        Ok(self.stdin_secret.get_or_init(|| secret).clone())
    }
}

/// A listener at all addresses of this host.
fn anywhere(port: u16) -> std::io::Result<TcpListener> {
    bind((Ipv6Addr::UNSPECIFIED, port).into())
        // A system without IPv6.
        .or_else(|_| bind((Ipv4Addr::UNSPECIFIED, port).into()))
}

/// Where a listener at `address` may be reached from elsewhere, the likeliest first.
pub(crate) fn places(address: SocketAddr, chosen: Option<&str>) -> Vec<String> {
    let port = address.port();
    let mut all: Vec<String> = chosen.map(str::to_owned).into_iter().collect();
    if !address.ip().is_unspecified() {
        all.push(address.to_string());
        return all;
    }
    let addresses = local_addresses().into_iter();
    all.extend(addresses.map(|ip| SocketAddr::new(ip, port).to_string()));
    all.push(format!("{}:{port}", host_name()));
    // For ranks on this host that have nothing else in common with it.
    all.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).to_string());
    all
}

/// The port of `HOST:PORT`; `None` if the text is malformed.
fn port_of(place: &str) -> Option<u16> {
    let (host, port) = place.rsplit_once(':')?;
    let plain = !host.is_empty() && !host.contains(':') && !host.contains(char::is_whitespace);
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let six = bracketed.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    port.parse().ok().filter(|port| *port != 0 && (plain || six))
}

/// Which rank a launcher has made of this process.
fn launched(lookup: &dyn Fn(&str) -> Option<String>) -> Option<LaunchedRank> {
    if let Some(launcher) = Launcher::detect(lookup) {
        let by = launcher.name();
        let guess = if by == "srun" { slurm_root(lookup) } else { None };
        return Some(LaunchedRank { rank: launcher.rank(), size: launcher.size(), guess, by });
    }
    let number = |name: &str| lookup(name)?.parse().ok();
    let (rank, size) = (number("RANK")?, number("WORLD_SIZE")?);
    let master = || {
        let (host, port) = (lookup("MASTER_ADDR")?, number("MASTER_PORT")?);
        // Then that port is torchrun's own.
        let taken = lookup("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        (!taken).then(|| format!("{host}:{port}"))
    };
    let guess = master().filter(|root| port_of(root).is_some());
    Some(LaunchedRank { rank, size: Some(size), guess, by: "torchrun" })
}

/// The first host of the step, and a port that follows from job and step.
fn slurm_root(lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let list = lookup("SLURM_STEP_NODELIST").or_else(|| lookup("SLURM_NODELIST"))?;
    let number = |name: &str| lookup(name).and_then(|text| text.parse::<u32>().ok());
    let (job, step) = (number("SLURM_JOB_ID")?, number("SLURM_STEP_ID").unwrap_or(0));
    let spread = SLURM_PORTS.end - SLURM_PORTS.start;
    let port = SLURM_PORTS.start + job.wrapping_mul(31).wrapping_add(step) % spread;
    Some(format!("{}:{port}", first_host(&list)?))
}

/// The first host of a list like `n[01-16,20]-ib,m1`.
fn first_host(list: &str) -> Option<String> {
    let mut host = String::new();
    let mut rest = list.trim();
    loop {
        let end = rest.find(['[', ',']).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(end);
        host.push_str(plain);
        let Some(inside) = after.strip_prefix('[') else { break };
        let (numbers, after) = inside.split_once(']')?;
        host.push_str(numbers.split([',', '-']).next()?);
        rest = after;
    }
    let sound = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (!host.is_empty() && host.chars().all(sound)).then_some(host)
}

#[cfg(test)]
mod tests;
