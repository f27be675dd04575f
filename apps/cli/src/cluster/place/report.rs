//! What a `cast` or `place` prints: the document of `--json`, the table, what would move, what
//! differs, and the exit code.

use super::spec::{JobSpec, NOBODY};
use crate::cluster::outputs::Outputs;
use crate::cluster::{failures, progress, table};
use crate::console::json;
use crate::console::out::{self, Page};
use crate::console::progress::ProgressMode;
use crate::exit::{Exit, Failure};
use dunlin_base::{Rank, format_size};
use dunlin_cluster::{PeerReport, PeerState, Report};
use dunlin_control::FailedFile;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;

/// How many differences of the same ranks are named one by one; the document of `--json` has them
/// all.
const NAMED: usize = 20;

/// By rank, the name of its host.
pub(super) type HostNames = BTreeMap<Rank, String>;

/// A run that is over.
pub(super) struct Finished<'a> {
    /// What was to be done.
    pub(super) spec: &'a JobSpec,
    /// The hosts of ranks.
    pub(super) hosts: HostNames,
    /// What could not be placed at all, and was printed before the run.
    pub(super) problems: Vec<String>,
    /// What came of the rest.
    pub(super) report: Report,
    /// The files that it leaves beside those of its ranks.
    pub(super) outputs: Outputs,
}

/// Prints what came of a run, and writes its outputs.
///
/// # Errors
/// If something cannot be written that was asked for (exit 5).
pub(super) fn print(run: Finished<'_>) -> Result<Exit, Failure> {
    let Finished { spec, hosts, problems, mut report, outputs } = run;
    if spec.options.looks_only() {
        add_refused(&mut report);
    }
    name_sources(spec, &mut report);
    let options = &spec.options;
    if !options.looks_only() {
        progress::last_line(ProgressMode::of(options.run.quiet), &report);
    }
    let exit = exit_of(spec, &problems, &report);
    outputs.write(&report)?;
    let failures = failures::failures_at(&report, |rank| called(&hosts, rank));
    let printout = Printout { spec, hosts: &hosts, problems: &problems, report: &report, exit };
    if options.run.json {
        out::document(&printout.document(&failures))?;
    } else if !options.run.quiet {
        out::data(|page| printout.write(page))?;
    }
    report.notes.iter().for_each(|text| say(options.run.quiet, &format!("warning: {text}")));
    failures.iter().for_each(|text| out::error(text));
    if exit == Exit::Interrupted {
        out::notice(match options.looks_only() {
            true => "interrupted; this says nothing of how it stands. Run the same command again",
            false => "interrupted; what is here is kept. To go on, run the same command again",
        });
    }
    Ok(exit)
}

/// A rank, and its host where there are several.
fn called(hosts: &HostNames, rank: Rank) -> String {
    let own = hosts.get(&rank);
    match own.filter(|own| hosts.values().any(|other| other != *own)) {
        Some(host) => format!("rank {rank} ({host})"),
        None => format!("rank {rank}"),
    }
}

fn say(quiet: bool, text: &str) {
    if !quiet {
        out::notice(text);
    }
}

/// For a run that only looks, what ranks cannot take is as good as not given.
fn add_refused(report: &mut Report) {
    for peer in &report.peers {
        let failed = peer.files.iter().filter_map(|file| {
            Some(FailedFile { name: file.name.clone(), reason: file.reason.clone()? })
        });
        let failed: Vec<FailedFile> = failed.collect();
        if !failed.is_empty() {
            report.ungiven.entry(peer.rank).or_default().extend(failed);
        }
    }
}

/// Says SRC, and where it was looked for, where a pattern stands that nothing matched.
fn name_sources(spec: &JobSpec, report: &mut Report) {
    let rename = |name: &mut String, reason: Option<&mut String>| {
        let Some(source) = spec.source(name) else { return };
        name.clone_from(&source.given);
        if let Some(reason) = reason.filter(|reason| *reason == NOBODY) {
            *reason = source.unheld();
        }
    };
    for peer in &mut report.peers {
        peer.files.iter_mut().for_each(|file| rename(&mut file.name, file.reason.as_mut()));
    }
    for files in report.differs.values_mut().chain(report.ungiven.values_mut()) {
        files.iter_mut().for_each(|file| rename(&mut file.name, Some(&mut file.reason)));
    }
}

/// How the program ends: as the run did, if that is not well; by what differs, if only that was
/// asked; or by what could not be placed.
fn exit_of(spec: &JobSpec, problems: &[String], report: &Report) -> Exit {
    let exit = Exit::of_code(report.exit_code());
    if exit == Exit::Disk && report.errors.is_empty() && somebody_took(report) {
        // The disks of some ranks: what could be placed is placed.
        return Exit::Failed;
    }
    if exit != Exit::Ok {
        return exit;
    }
    let any =
        |by_rank: &BTreeMap<Rank, Vec<FailedFile>>| by_rank.values().any(|all| !all.is_empty());
    let differs = any(&report.differs) || any(&report.ungiven);
    if spec.options.verify_only && (differs || !problems.is_empty()) {
        return Exit::Mismatch;
    }
    let lacking = spec.options.check && any(&report.ungiven);
    if problems.is_empty() && !lacking { Exit::Ok } else { Exit::Failed }
}

/// Whether any rank has all that it wanted.
fn somebody_took(report: &Report) -> bool {
    let takes = |peer: &PeerReport| !peer.files.is_empty() && peer.state == PeerState::Complete;
    report.peers.iter().any(takes)
}

/// What is printed.
struct Printout<'a> {
    spec: &'a JobSpec,
    hosts: &'a HostNames,
    problems: &'a [String],
    report: &'a Report,
    exit: Exit,
}

impl Printout<'_> {
    fn host(&self, rank: Rank) -> &str {
        self.hosts.get(&rank).map_or("", String::as_str)
    }

    /// The document of `--json`.
    fn document(&self, failures: &[String]) -> Value {
        let options = &self.spec.options;
        let mut value = self.report.to_json();
        if let Some(peers) = value.get_mut("peers").and_then(Value::as_array_mut) {
            peers.iter_mut().for_each(|peer| self.add_host(peer));
        }
        if let Some(plan) = value.get_mut("plan").and_then(Value::as_array_mut) {
            plan.iter_mut().for_each(|planned| self.add_host(planned));
        }
        if let Some(fields) = value.as_object_mut() {
            fields.insert("command".to_owned(), self.spec.command().into());
            fields.insert("problems".to_owned(), json!(self.problems));
            fields.insert("notes".to_owned(), json!(self.report.notes));
            fields.insert("exit".to_owned(), self.exit.code().into());
            if options.looks_only() {
                let (key, peers) =
                    if options.check { ("check", "peers") } else { ("verify", "peers") };
                fields.insert(key.to_owned(), true.into());
                // Nothing moved, and no rank failed: what counts is what would, and what differs.
                fields.remove(peers);
                fields.insert("differs".to_owned(), self.named(&self.report.differs));
                fields.insert("ungiven".to_owned(), self.named(&self.report.ungiven));
                fields.insert("unanswered".to_owned(), self.unanswered());
            }
        }
        let mut said: Vec<&str> = self.problems.iter().map(String::as_str).collect();
        said.extend(failures.iter().map(String::as_str));
        if self.exit == Exit::Mismatch && said.is_empty() {
            said.push("not everything is as it should be");
        }
        json::report(value, self.exit, &said.join("\n"))
    }

    fn add_host(&self, value: &mut Value) {
        let rank = value.get("rank").and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
        if let (Some(rank), Some(fields)) = (rank, value.as_object_mut()) {
            fields.insert("host".to_owned(), self.host(Rank(rank)).into());
        }
    }

    fn named(&self, by_rank: &BTreeMap<Rank, Vec<FailedFile>>) -> Value {
        let all = by_rank.iter().flat_map(|(rank, files)| {
            files.iter().map(|file| {
                json!({
                    "rank": rank.0, "host": self.host(*rank), "name": file.name,
                    "reason": file.reason,
                })
            })
        });
        all.collect()
    }

    /// Of a mere look: the ranks of which nothing is known.
    fn unanswered(&self) -> Value {
        let all = self.report.unanswered().map(|peer| {
            let rank = peer.rank;
            json!({ "rank": rank.0, "host": self.host(rank), "state": peer.state.name() })
        });
        all.collect()
    }

    /// Whether all was looked at: the run was not stopped.
    fn looked(&self) -> bool {
        !self.report.interrupted && self.report.errors.is_empty()
    }

    /// What people read.
    fn write(&self, to: &mut Page<'_>) -> io::Result<()> {
        if self.report.never_began || self.report.peers.is_empty() {
            return Ok(());
        }
        if self.spec.options.looks_only() && !self.looked() {
            return Ok(());
        }
        if self.spec.options.check {
            return self.write_check(to);
        }
        if self.spec.options.verify_only {
            return self.write_differences(to);
        }
        table::write_place(self.report, self.hosts, to)
    }

    fn write_check(&self, to: &mut Page<'_>) -> io::Result<()> {
        for planned in &self.report.plan {
            let noun = if planned.files == 1 { "file" } else { "files" };
            to.line(format_args!(
                "{}: {} {noun} to come: would fetch {}, link {}; {} there already",
                called(self.hosts, planned.rank),
                planned.files,
                format_size(planned.bytes),
                format_size(planned.linked),
                format_size(planned.bytes_here),
            ))?;
        }
        self.write_named(&self.report.ungiven, to)?;
        let total = self.report.plan.iter().map(|planned| planned.bytes);
        let total = total.fold(0, u64::saturating_add);
        let of = match self.report.unanswered().count() {
            0 => "in all",
            _ => "at the ranks that answered",
        };
        to.line(format_args!("would move {} {of}; nothing was moved", format_size(total)))
    }

    fn write_differences(&self, to: &mut Page<'_>) -> io::Result<()> {
        self.write_named(&self.report.differs, to)?;
        let ranks = self.report.differs.values().filter(|files| !files.is_empty()).count();
        let (all, silent) = (self.report.peers.len(), self.report.unanswered().count());
        match ranks {
            0 if silent > 0 => to.line(format_args!("nothing is known of {silent} of {all} ranks")),
            0 => to.line(format_args!("everything is as it should be, at all {all} ranks")),
            1 => to.line(format_args!("1 rank differs")),
            _ => to.line(format_args!("{ranks} ranks differ")),
        }
    }

    fn write_named(
        &self,
        by_rank: &BTreeMap<Rank, Vec<FailedFile>>,
        to: &mut Page<'_>,
    ) -> io::Result<()> {
        let said = by_rank.iter().map(|(rank, files)| {
            let texts = files.iter().map(|file| format!("{}: {}", file.name, file.reason));
            (*rank, texts.collect())
        });
        for (ranks, files) in failures::together::<String>(said) {
            let whose = failures::called(&ranks, |rank| called(self.hosts, rank));
            for file in files.iter().take(NAMED) {
                to.line(format_args!("{whose}: {file}"))?;
            }
            if let Some(more) = files.len().checked_sub(NAMED).filter(|more| *more > 0) {
                to.line(format_args!("{whose}: {more} more differ (--json names all)"))?;
            }
        }
        Ok(())
    }
}
